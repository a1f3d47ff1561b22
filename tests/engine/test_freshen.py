"""An expired page gets a new lifetime from a 304."""

from __future__ import annotations

from pagegen import PageCache, Rule
from pagegen.engine import Engine
from pagegen.messages import ResponseHead
from pagegen.sources import Sources
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import FakeClock, environ
from pagegen.verdicts import Admitted, Forward, Hit, Ticket
from pagegen.wsgi.requests import read_request

RULE = Rule(path="/page", share="public", namespaces=["page"], ttl=60, sie="1h")
OLD = ResponseHead(200, (("Content-Type", "text/plain"), ("X-Version", "1"), ("ETag", '"a"')), "OK")


def forwarded(engine: Engine) -> Ticket:
    verdict = step(engine.look_up(read_request(environ("GET", "/page"))))
    assert isinstance(verdict, Forward)
    return verdict.ticket


def test_a_304_gives_an_expired_page_a_new_lifetime_and_updates_its_fields() -> None:
    clock = FakeClock()
    cache = PageCache([RULE], store=MemoryStore(now=clock), sources=Sources(now=clock))
    engine = cache.engine
    step(engine.admit(forwarded(engine), OLD, b"body"))
    clock.advance(90)
    said = ResponseHead(304, (("X-Version", "2"), ("Content-Length", "0")))
    outcome = step(engine.freshen(forwarded(engine), said))
    assert isinstance(outcome, Admitted)
    hit = step(engine.look_up(read_request(environ("GET", "/page"))))
    assert isinstance(hit, Hit)
    assert (hit.page.body, hit.age, hit.ttl) == (b"body", 0, 60)
    kept = dict(hit.page.fields)
    ours = ["Cache-Control", "Accept-Ranges", "Content-Length"]
    assert list(kept) == ["Content-Type", "X-Version", "ETag", *ours]
    assert kept["Content-Type"] == "text/plain"
    assert (kept["X-Version"], kept["Content-Length"]) == ("2", "4")


def test_without_an_expired_page_a_304_freshens_nothing() -> None:
    engine = PageCache([RULE]).engine
    assert step(engine.freshen(forwarded(engine), ResponseHead(304, ()))) is None


def test_a_page_freshened_after_a_write_is_freshened_under_a_dead_generation() -> None:
    clock = FakeClock()
    cache = PageCache([RULE], store=MemoryStore(now=clock), sources=Sources(now=clock))
    step(cache.engine.admit(forwarded(cache.engine), OLD, b"body"))
    clock.advance(90)
    ticket = forwarded(cache.engine)
    cache.invalidate("page")
    step(cache.engine.freshen(ticket, ResponseHead(304, ())))
    assert cache.inspect("/page", host="testserver").state == "invalidated"
