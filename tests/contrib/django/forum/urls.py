"""The forum's paths."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("", views.threads),
    path("picks/", views.picks),
    path("me/", views.me),
    path("uncached/", views.uncached),
    path("boards/<int:board>/", views.board),
    path("threads/<int:thread>/", views.thread),
    path("threads/<int:thread>/mine/", views.mine),
    path("threads/<int:thread>/reply/", views.reply),
    path("threads/<int:thread>/write/", views.write),
]
