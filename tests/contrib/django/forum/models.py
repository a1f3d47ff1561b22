"""Threads with posts, likes and flags.

What a thread is judged by is its *standing*: every write of any of these rows makes it higher by
one, and one query tells it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, F, Max, OuterRef, Subquery
from django.db.models.functions import Coalesce


class Threads(models.QuerySet["Thread"]):
    def with_standing(self) -> Self:
        """Each with its ``standing`` and ``liked``, which is how often.

        One statement sees one state of the database.
        """
        return self.annotate(
            liked=_of_thread(Thread.likes.through.objects, Count("pk")),
            standing=F("edits")
            + F("liked")
            + _of_thread(Post.objects, Max("edition"))
            - _of_thread(Flag.objects, Count("pk")),
        )


def _of_thread(rows: Any, number: Any) -> Any:
    grouped = rows.filter(thread=OuterRef("pk")).order_by().values("thread")
    return Coalesce(Subquery(grouped.annotate(number=number).values("number")), 0)


class Thread(models.Model):
    title = models.CharField(max_length=100)
    board = models.IntegerField()
    edits = models.IntegerField(default=0)
    likes = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="liked")

    objects = Threads.as_manager()
    pagegen_namespaces: ClassVar = ["thread:{id}", "threads", "board:{board}"]

    class Meta:
        app_label = "forum"  # imported by tests whose own process has not installed it yet


class Post(models.Model):
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="posts")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="posts")
    text = models.TextField()
    edition = models.IntegerField(default=1)

    pagegen_namespaces: ClassVar = ["thread:{thread_id}/posts", "posts", "user:{author_id}/posts"]

    class Meta:
        app_label = "forum"


class Flag(models.Model):
    """A complaint about a thread. Dismissed ones are deleted."""

    thread = models.ForeignKey(Thread, models.CASCADE, related_name="flags")
    reason = models.CharField(max_length=100)

    pagegen_namespaces: ClassVar = ["thread:{thread_id}/flags", "flags"]

    class Meta:
        app_label = "forum"
