"""Flask-Caching: ``delete_memoized(user.page)``, a memoized method of an object for each user."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_caching import Cache

from ..flask_caching import settings
from . import OURS, USERS, Group, batches


class Memoized(Group):
    """A random version of 36 bits per user is part of the keys, and is replaced: one write.

    No page is deleted. What it caches is a function that a view calls, not the view. And who
    stores a page reads the version once more and writes it back: that undoes a deletion which
    came between the two (Flask-Caching 2.5, ``memoize`` with ``refresh=True``).
    """

    def __init__(self, store: str) -> None:
        super().__init__(store)
        app = Flask(__name__)
        app.app_context().push()
        self._cache = Cache(app, config=settings(store))
        kind = self._kind()
        self._users = {user: kind(user) for user in USERS}

    def _kind(self) -> Any:
        render = self.render

        class User:
            def __init__(self, number: int) -> None:
                self._number = number

            def __repr__(self) -> str:  # what tells one user's version from another's
                return f"user {self._number}"

            @self._cache.memoize()
            def page(self, number: int) -> str:
                return render()

        return User

    def fill(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        for user in self._users.values():
            page = type(user).page
            user.page(0)  # stores the versions
            for batch in batches(pages):
                keys = [page.make_cache_key(page.uncached, user, number) for number in batch]
                self._cache.set_many({key: self.render() for key in keys})

    def visit(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        self._users[user].page(number)

    def forget(self) -> None:
        """See :meth:`Group.forget`."""
        self._cache.delete_memoized(self._users[OURS].page)
