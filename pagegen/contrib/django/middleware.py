"""The middleware inside Django's own stack, behind sessions and authentication.

::

    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "pagegen.contrib.django.middleware.PageCacheMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.locale.LocaleMiddleware",
    ]

What stands in front runs on hits, too; what stands behind runs when a page is rendered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagegen.messages import CACHED_METHODS

from .async_fronts import AsyncFront
from .caches import DjangoPageCache, get_cache
from .fronts import SyncFront
from .identity import SOURCE
from .outside import Doubts
from .passage import Passage
from .stack import locale_is_behind


class PageCacheMiddleware:
    """Answers from the cache what it can, and runs the rest of the stack for what it cannot.

    Raises ``ConfigError`` when it is built, so a mistake in the configuration stops the start.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)
        self._doubts = Doubts(locale_is_behind())
        self._made: Any = None
        self._asks_for_users: frozenset[str] = frozenset()
        self._front()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """The response to a request; on an event loop, a coroutine that has it."""
        if self._async:
            return self._answer(request)
        response: HttpResponseBase = self._front().answer(
            Passage(request), doubt=self._is_doubtful(request)
        )
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        front, passage = self._front(), Passage(request)
        doubt = self._is_doubtful(request)
        if not doubt and self._asks_for_users and self._asks(request) and passage.user_is_unknown:
            # One hop, of the same user that a synchronous view would get: request.auser() looks
            # into the session, whoever else has put another user on the request.
            await sync_to_async(passage.find_user, thread_sensitive=True)()
        response: HttpResponseBase = await front.answer(passage, doubt=doubt)
        return response

    def _is_doubtful(self, request: HttpRequest) -> bool:
        return request.method in CACHED_METHODS and self._doubts.about(request)

    def _asks(self, request: HttpRequest) -> bool:
        """Whether the rule of a request is keyed by its user."""
        if request.method not in CACHED_METHODS:
            return False
        match = self._made.cache.configuration.book.match(request.method, request.path_info)
        return match is not None and match[0].name in self._asks_for_users

    def _front(self) -> Any:
        """The front around the present cache: settings change in tests."""
        made, cache = self._made, get_cache()
        if made is None or made.cache is not cache:
            kind: Any = AsyncFront if self._async else SyncFront
            made = kind(self._get_response, cache, self._doubts)
            self._asks_for_users = _asking(cache)
            self._made = made
        return made


def _asking(cache: DjangoPageCache) -> frozenset[str]:
    """Names of the rules whose identities ask for ``request.user``."""
    book = cache.configuration.book
    asking = {name for name, identity in book.identities.items() if SOURCE in identity.sources}
    return frozenset(r.name for r in book.rules if not asking.isdisjoint(r.identities))
