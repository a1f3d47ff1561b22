"""``seed THREADS USER…``: threads, users that are logged in, and what the cookies of each are."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from ...models import Flag, Post, Thread


def fill(threads: int, names: list[str]) -> dict[str, str]:
    """Make rows, and a session for each user: its key, by the user's name."""
    users = [User.objects.create(username=name) for name in names]
    for number in range(1, threads + 1):
        thread = Thread.objects.create(title=f"thread {number}", board=1 + number // 2 % 2, edits=5)
        Post.objects.bulk_create(Post(thread=thread, author=u, text="hello") for u in users)
        Flag.objects.create(thread=thread, reason="long")
    return {user.username: _session(user) for user in users}


def _session(user: User) -> str:
    """As ``login`` makes it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    session.save()
    key = session.session_key
    assert key is not None
    return key


class Command(BaseCommand):
    help = "fills an empty forum and tells the session of each user as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("threads", type=int)
        parser.add_argument("names", nargs="+")

    def handle(self, *_: Any, **given: Any) -> None:
        with transaction.atomic():
            sessions = fill(given["threads"], given["names"])
        self.stdout.write(json.dumps(sessions))
