"""The forum's paths, and views that forgot a namespace."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from pagegen.contrib.django import page

from . import urls, views
from .models import Thread


@page(share="public", ttl=views.LONG, namespaces=["thread:{thread}"], query={"page": views.NUMBER})
def without_posts(request: HttpRequest, thread: int) -> HttpResponse:
    """A thread's page that lives longer than its posts."""
    return views.thread(request, thread)


@page(share="public", ttl=views.LONG)
async def without_threads(request: HttpRequest) -> HttpResponse:
    """A list that lives longer than what is on it."""
    return HttpResponse(" ".join([thread.title async for thread in Thread.objects.order_by("pk")]))


urlpatterns = [
    path("careless/<int:thread>/", without_posts),
    path("careless/", without_threads),
    *urls.urlpatterns,
]
