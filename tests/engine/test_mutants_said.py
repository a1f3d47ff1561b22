"""What is said to clients: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b

import brotli
import pytest
from backports import zstd

from pagegen import compression
from pagegen.debugging import MAX_VALIDITY, Debugger
from pagegen.errors import ConfigError
from pagegen.exchange import Exchange, current, handling
from pagegen.fields import MAX_COOKIES, format_http_date
from pagegen.law.storing import Refusal
from pagegen.messages import Fields, ResponseHead
from pagegen.status import (
    MAX_DETAIL,
    Manner,
    Tell,
    appended,
    appended_wire,
    dated,
    of_admitted,
    of_forward,
)
from pagegen.stores.names import derive
from pagegen.testing import FakeClock
from pagegen.verdicts import Admitted, Refused, Stale, Ticket
from pagegen.wrote import MARGIN, MAX_AHEAD, Wrote
from tests.engine.driving import Hooked, Process
from tests.unit.test_wrote import asking, pair

NOW = 1_700_000_000.0
DATE = ("Date", format_http_date(NOW))
OTHER = ("X-A", "date")
SITE = "shop \ud800"  # what a file name may become

SILENT, SILENT_DATED = Manner(Tell.NOTHING, dated=False), Manner(Tell.NOTHING, dated=True)
TELLING = Manner(Tell.OUTCOME, dated=False)


@pytest.fixture
def admitted() -> tuple[Ticket, Admitted]:
    clock = FakeClock()
    process = Process(clock, Hooked(clock))
    forward = process.leads()
    made = process.answer(forward, b"page", ("Age", "4"))
    assert isinstance(made, Admitted)
    return forward.ticket, made


# Dates and ages -------------------------------------------------------------------------------


def test_who_is_told_nothing_gets_the_page_with_its_age_and_its_date_where_no_server_dates(
    admitted: tuple[Ticket, Admitted],
) -> None:
    ticket, made = admitted
    made = replace(made, withheld=(OTHER,))
    old, new = ResponseHead(200, (("Age", "4"),)), ResponseHead(200, ())
    date = ("Date", made.page.date)
    assert SILENT.admitted_fields(ticket, made, new) == (OTHER,)
    assert SILENT.admitted_fields(ticket, made, old) == (OTHER, ("Age", "4"))
    assert SILENT_DATED.admitted_fields(ticket, made, new) == (OTHER, date)
    assert SILENT_DATED.admitted_fields(ticket, made, old) == (OTHER, date, ("Age", "4"))
    assert SILENT.of_rescue(Stale(made.page, 60, 0, None), 500) is None
    assert SILENT.of_hit(Stale(made.page, 60, 0, None)) is None


@pytest.mark.parametrize("name", ["date", "Date", "DATE"])
def test_a_date_that_is_there_stays(name: str) -> None:
    fields = (OTHER, (name, "then"))
    assert dated(fields, NOW) == fields
    assert dated((OTHER,), NOW) == (OTHER, DATE)


@pytest.mark.parametrize("name", ["date", "Date"])
def test_what_may_be_stored_leaves_without_the_date_that_the_server_will_write(
    admitted: tuple[Ticket, Admitted], name: str
) -> None:
    ticket, _ = admitted
    fields: Fields = ((name, "then"), OTHER)

    def leaving(manner: Manner, fields: Fields, *, stored: bool) -> Fields:
        return manner.leaving_fields(ticket, fields, None, NOW, stored=stored)

    assert leaving(SILENT, fields, stored=True) == (OTHER,)
    assert leaving(SILENT, fields, stored=False) == fields
    for stored in (True, False):
        assert leaving(SILENT_DATED, fields, stored=stored) == fields
        assert leaving(SILENT_DATED, (OTHER,), stored=stored) == (OTHER, DATE)
    assert leaving(TELLING, fields, stored=True) == (
        OTHER,
        ("Cache-Status", "pagegen; fwd=uri-miss"),
    )


# Cache-Status ---------------------------------------------------------------------------------


def test_a_status_is_told_where_it_is_not_the_responses_own(
    admitted: tuple[Ticket, Admitted],
) -> None:
    ticket, made = admitted
    ttl = int(made.page.fresh_until - made.page.stored_at)
    same = of_admitted(ticket, made, 200, Tell.OUTCOME)
    assert same == f"pagegen; fwd=uri-miss; ttl={ttl}; stored"
    other = of_admitted(ticket, made, 304, Tell.OUTCOME)
    assert other == f"pagegen; fwd=uri-miss; fwd-status=304; ttl={ttl}; stored"


@pytest.mark.parametrize(("status", "told"), [(99, False), (100, True), (999, True), (1000, False)])
def test_a_status_that_none_can_be_is_not_told(
    admitted: tuple[Ticket, Admitted], status: int, told: bool
) -> None:
    member = of_forward(admitted[0], Refused(Refusal.STATUS), stored=False, status=status)
    said = f"; fwd-status={status}" if told else ""
    assert member == f"pagegen; fwd=uri-miss{said}; detail=refused-status"


@pytest.mark.parametrize(("length", "fits"), [(990, True), (991, False)])
def test_a_namespace_is_named_as_long_as_there_is_room(
    admitted: tuple[Ticket, Admitted], length: int, fits: bool
) -> None:
    assert MAX_DETAIL == 1024
    name = "a" * length
    ticket = admitted[0]
    ticket.changed = (name,)
    said = f"changed: {name}" if fits else "changed: 1 more"
    assert of_forward(ticket, None, stored=False) == f'pagegen; fwd=uri-miss; detail="{said}"'


@pytest.mark.parametrize("value", ["X", "XX", "\x0c"])
def test_what_caches_behind_us_said_stays_unless_it_is_empty(value: str) -> None:
    fields = (("cache-status", value), ("Cache-Status", " \t"), ("x-a", ""))
    kept = (("cache-status", value), ("x-a", ""))
    assert appended(fields, "pagegen") == (*kept, ("Cache-Status", "pagegen"))
    wire = [(name.lower().encode(), value.encode()) for name, value in fields]
    expect = [(name.encode(), value.encode()) for name, value in kept]
    assert appended_wire(wire, "pagegen") == (*expect, (b"cache-status", b"pagegen"))


# Signed values --------------------------------------------------------------------------------


def mac(purpose: bytes, text: str) -> str:
    """As the formats are documented: processes of two releases have to agree."""
    said = f"{text}:{SITE}".encode("utf-8", "surrogatepass")
    return blake2b(said, digest_size=16, key=derive("secret", purpose)).hexdigest()


def test_the_writers_cookie_has_its_documented_form() -> None:
    key = derive("secret", b"pagegen wrote")
    digest = blake2b(SITE.encode("utf-8", "surrogatepass"), digest_size=4, key=key).hexdigest()
    end = f"{NOW + 30 + MARGIN:.0f}"
    ours = Wrote("secret", site=SITE, window=30)
    value = f"{end}.{mac(b'pagegen wrote', end)}"
    assert ours.cookie(NOW, secure=False)[0] == (
        f"pagegen_wrote_{digest}={value}; Max-Age=90; Path=/; HttpOnly; SameSite=Lax"
    )


def test_the_debug_header_has_its_documented_form() -> None:
    end = f"{NOW + 60:.0f}"
    ours = Debugger("secret", lambda: NOW, site=SITE)
    assert ours.field(60) == f"{end}.{mac(b'pagegen debug', end)}"


def test_a_debug_header_may_last_a_day_and_no_second_more() -> None:
    ours = Debugger("secret", lambda: NOW, site=SITE)
    value = ours.field(MAX_VALIDITY)
    assert ours.allows(value, NOW)
    assert not ours.allows(value, NOW - 1)


def test_without_a_key_it_is_said_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        Debugger("", lambda: NOW).field()
    assert str(caught.value) == (
        "[pagegen]: site_key: is not set, and a debug header is signed with it. Give the same "
        "secret to all processes"
    )


def test_without_a_window_nobody_is_known_as_a_writer() -> None:
    assert not Wrote("secret").possible
    assert Wrote("secret", window=0.5).possible
    one, other = Wrote("secret", window=30), Wrote("secret", site="", window=30)
    assert one.cookie(NOW, secure=True) == other.cookie(NOW, secure=True)


def test_a_writers_cookie_is_believed_as_far_ahead_as_a_clock_may_have_been_set_back() -> None:
    ours = Wrote("secret", window=30)
    jar = asking(pair(ours, NOW))
    assert ours.wrote(jar, NOW - MAX_AHEAD)
    assert not ours.wrote(jar, NOW - MAX_AHEAD - 1)
    assert not ours.wrote(jar, NOW + 30 + MARGIN)


def test_a_cookie_field_of_the_longest_length_is_read_to_its_end() -> None:
    ours = Wrote("secret", window=30)
    assert not ours.wrote(asking("a" * MAX_COOKIES), NOW)
    assert ours.wrote(asking("a" * (MAX_COOKIES + 1)), NOW)


# Codings --------------------------------------------------------------------------------------


def test_pages_are_coded_at_the_levels_that_were_chosen() -> None:
    body = "".join(f"<li>{number * number % 97} of {number}</li>" for number in range(900)).encode()
    coded = dict(compression.compressed(body, ["br", "zstd", "gzip"]))
    expect = {
        "br": brotli.compress(body, quality=5),
        "zstd": zstd.compress(body, level=7),
        "gzip": gzip.compress(body, compresslevel=6, mtime=0),
    }
    assert len(set(coded.values())) == 3
    assert {name: len(made) for name, made in coded.items()} == {
        name: len(made) for name, made in expect.items()
    }
    assert len(brotli.compress(body)) != len(expect["br"])
    assert len(zstd.compress(body)) != len(expect["zstd"])


@pytest.mark.parametrize("codings", [["deflate"], ["gzip", "gzip"]])
def test_a_coding_that_is_not_offered_is_named(codings: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        compression.check(codings)
    assert caught.value.problem == (
        f"{codings[-1]!r} is no coding that pages are kept in, or is there twice"
    )


# Exchanges ------------------------------------------------------------------------------------


@contextmanager
def inside(*exchanges: Exchange) -> Iterator[None]:
    if not exchanges:
        yield
        return
    with handling(exchanges[0]), inside(*exchanges[1:]):
        yield


def test_an_answer_goes_to_a_handler_of_the_same_cache_that_still_runs() -> None:
    ours, theirs = object(), object()

    def nested(*owners: tuple[object, bool]) -> bool:
        outer = [Exchange(owner) for owner, _ in owners]
        inner = Exchange(ours)
        with inside(*outer, inner):
            for exchange, (_, ended) in zip(outer, owners, strict=True):
                exchange.ended = ended
            assert current(ours) is inner
            return inner.nested

    assert not nested()
    assert nested((ours, False))
    assert not nested((ours, True))
    assert not nested((theirs, False))
    assert not nested((theirs, True))
    assert nested((ours, False), (theirs, False))
    assert nested((ours, False), (ours, True))
    assert not nested((ours, True), (theirs, False))


def test_what_is_owed_is_unsettled_until_the_end() -> None:
    exchange = Exchange(object(), declared=("page",))
    assert exchange.declared == ("page",)
    assert exchange.unsettled is False
    exchange.owe(())
    assert exchange.unsettled is False
    exchange.owe(["page"], soft=True)
    assert exchange.unsettled is True
    assert exchange.owed == {"page": True}
    exchange.end()
    assert exchange.ended
    assert exchange.owed == {}
