"""pagegen: ``cache.invalidate("user:42/pages")``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from secrets import token_bytes
from time import time
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.law.tokens import RANDOM_BYTES, stamped
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.verdicts import Plan
from pagegen.wsgi import PageCacheMiddleware
from pagegen.wsgi.requests import read_request

from ..pages import HOUR, SITE, TYPE, address
from ..prove import wsgi_environ, wsgi_get
from . import OURS, USERS, Group, batches

_RULE: Final = Rule(
    path="/users/{user:int}/{number:int}",
    share="public",
    ttl="1h",
    namespaces=["user:{user}/pages"],
)
#: A deadline longer than the default: a miss for want of time would look like a page that was lost.
_URLS: Final = {
    "memory": "memory://?size=2GiB",
    "memcached": "memcached://{}?timeout=1s",
    "redis": "redis://{}/0?timeout=1s",
}


class Tokens(Group):
    """A random token of 128 bits per user is replaced: one write. No page is deleted."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        # That others on the server could write pages is no news here.
        logging.getLogger("pagegen").setLevel(logging.ERROR)
        place = "" if store == "memory" else address(store).text
        url = _URLS[store].format(place)
        self._cache = PageCache([_RULE], store=url, site=SITE, max_delay="1s")
        self._get = wsgi_get(PageCacheMiddleware(self._page, cache=self._cache))

    def _page(self, _environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", TYPE)])
        return [self.render().encode()]

    def fill(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        for user in USERS:
            self.visit(user, 0)
            first = self._plan(user, 0)
            page, _ = step(self._cache.engine.store.read(first.slot, first.namespaces))
            assert page is not None, "the first page was not stored"
            for batch in batches(pages):
                self._copy(page, [self._plan(user, number) for number in batch if number])

    def _copy(self, page: StoredResponse, plans: Sequence[Plan]) -> None:
        """Store a page in other slots too, each of which has its URL for a second namespace."""
        store, (group, _) = self._cache.engine.store, page.generation
        minted = {plan.namespaces[1]: stamped(token_bytes(RANDOM_BYTES), time()) for plan in plans}
        tokens = step(store.add_tokens(minted, HOUR))
        for plan in plans:
            copied = replace(
                page,
                key=plan.key,
                namespaces=plan.namespaces,
                generation=(group, tokens[plan.namespaces[1]]),
                forms={},
            )
            step(store.write_page(plan.slot, copied, HOUR))

    def _plan(self, user: int, number: int) -> Plan:
        found = self._cache.engine.plan(read_request(wsgi_environ(_path(user, number))))
        assert isinstance(found, Plan), found
        return found

    def visit(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        self._get(_path(user, number))

    def forget(self) -> None:
        """See :meth:`Group.forget`."""
        self._cache.invalidate(f"user:{OURS}/pages")


def _path(user: int, number: int) -> str:
    return f"/users/{user}/{number}"
