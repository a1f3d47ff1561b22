"""Everything that is written here, in as many ways as Django has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Max

from .models import Flag, Post, Thread

#: Posts that a thread keeps, and flags that are raised at one time.
KEPT: Final = 8
FLAGS: Final = 3


class OutdatedError(Exception):
    """Somebody else has written meanwhile."""


def write(thread_id: int, version: int, user: Any) -> None:
    """Make the standing of a thread this version, which is one higher than it is: in some way,
    another one each time.

    Raises ``OutdatedError`` and ``Thread.DoesNotExist``.
    """
    with transaction.atomic():
        thread = Thread.objects.select_for_update().get(pk=thread_id)
        if Thread.objects.with_standing().get(pk=thread_id).standing + 1 != version:
            raise OutdatedError
        with transaction.atomic():  # a savepoint
            WAYS[(version + thread_id) % len(WAYS)](thread, user)


def reply(thread: Thread, user: Any, text: str = "me too") -> None:
    """A post; of many the oldest go."""
    newest = thread.posts.aggregate(newest=Max("edition"))["newest"] or 0
    Post.objects.create(thread=thread, author=user, text=text, edition=newest + 1)
    kept = thread.posts.order_by("-pk")[:KEPT].values_list("pk", flat=True)
    thread.posts.exclude(pk__in=list(kept)).delete()


def _edit(thread: Thread, user: Any) -> None:
    thread.edits += 1
    thread.save()


def _edit_unseen(thread: Thread, user: Any) -> None:
    Thread.objects.filter(pk=thread.pk).update(edits=F("edits") + 1)


def _move(thread: Thread, user: Any) -> None:
    if thread.pk % 2:  # these stay, so no board is ever empty
        _edit(thread, user)
        return
    thread.board = 3 - thread.board
    thread.edits += 1
    thread.save(update_fields=["board", "edits"])


def _like(thread: Thread, user: Any) -> None:
    liker = User.objects.exclude(liked=thread).first()
    if liker is not None:
        thread.likes.add(liker)
        return
    thread.edits += thread.likes.count() + 1
    thread.likes.clear()
    thread.save()


def _revise(thread: Thread, user: Any) -> None:
    thread.posts.update(edition=F("edition") + 1)


def _flag(thread: Thread, user: Any) -> None:
    flag = thread.flags.first()
    if flag is not None:
        flag.delete()
        return
    Flag.objects.bulk_create(Flag(thread=thread, reason="rude") for _ in range(FLAGS))
    thread.edits += FLAGS + 1
    Thread.objects.bulk_update([thread], ["edits"])


Way = Callable[[Thread, Any], None]
WAYS: Final[tuple[Way, ...]] = (reply, _edit, _edit_unseen, _move, _like, _revise, _flag)
