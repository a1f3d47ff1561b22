"""Writes through both proxies, and what they forget in a cache in front."""

from __future__ import annotations

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing.proxy import OriginError
from pagegen.wsgi import PageCacheMiddleware as WSGIPageCacheMiddleware
from tests.testing.proxying import Kind, Peer, Twin, plain, twin_of

NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


def cached(twin: Twin) -> PageCache:
    """A cache in front of a twin."""
    middleware = PageCacheMiddleware if twin.kind == "asgi" else WSGIPageCacheMiddleware
    cache = PageCache([Rule(path="/**", share="public")])
    twin.app = middleware(twin.proxy, cache=cache)
    return cache


@pytest.mark.parametrize("method", ["POST", "DELETE", "PURGE"])
@pytest.mark.parametrize("answer", [plain(b"done"), plain(b""), NO_BODY], ids=["body", "0", "204"])
def test_a_write_forgets_once_and_nothing_behind_its_last_byte(
    kind: Kind, method: str, answer: bytes
) -> None:
    # A second time would come when the client may have asked for the page again already, and would
    # make the next visitor's a miss as well.
    with twin_of(kind, answer) as (twin, _):
        cache = cached(twin)
        assert twin.ask(method, "/page", body=b"x").status in (200, 204)
        assert cache.statistics()["invalidation"] == 1


def test_a_write_whose_answer_breaks_off_forgets_all_the_same(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    with twin_of(kind, script) as (twin, _):
        cache = cached(twin)
        with pytest.raises(OriginError):
            twin.ask("POST", "/page", body=b"x")
        assert cache.statistics()["invalidation"] >= 1
