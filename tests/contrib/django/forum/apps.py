"""The forum as an app."""

from __future__ import annotations

import os

from django.apps import AppConfig


class ForumConfig(AppConfig):
    name = "tests.contrib.django.forum"
    label = "forum"

    def ready(self) -> None:
        from django.contrib.auth.models import User

        from pagegen.contrib.django import plans

        from . import mistakes

        if User not in plans._registered:  # tests make apps ready more than once
            plans.register(User, ["user:{id}"])
        mistakes.make(os.environ.get("FORUM_MISTAKE", ""))
