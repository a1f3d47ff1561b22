"""What a client wants of a cache: RFC 9111 §5.2.1, §5.4, and §4.2.4 where it wants a stale page."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import RequestCacheControl
from werkzeug.http import parse_cache_control_header

from pagegen.fields import MAX_VALUE
from pagegen.law.wishes import Wishes, wishes
from pagegen.messages import StoredResponse

STORED, LIFETIME = 1000.0, 100.0
HUGE = 2**31


def page(age: float = 0.0, *, unreachable: float = 3600.0, on_error: float = 0.0) -> StoredResponse:
    """A page stored at second 1000, so old then, that lives for 100 s in all."""
    found = StoredResponse(
        b"", (), (), 200, "200 OK", b"", None, None, STORED, age, 0.0, 0.0, (), (), (), ()
    )
    found.fresh_until = STORED + LIFETIME - age
    found.stale_if_unreachable, found.stale_if_error = unreachable, on_error
    return found


class Reading(NamedTuple):
    """A request's fields, and what they say of caching."""

    id: str
    rfc: str
    says: str
    given: dict[str, str]
    expect: Wishes | None


def control(value: str) -> dict[str, str]:
    """Request fields with this Cache-Control."""
    return {"cache-control": value}


READINGS = [
    Reading("none", "§5.2.1", "a request that says nothing", {}, None),
    Reading("5.2-empty", "§5.2", "nor does an empty list", control(" , "), None),
    Reading("5.2.3-2", "§5.2.3", "what nobody knows is ignored", control("foo, bar=1"), None),
    Reading("responses", "§5.2", "a response's word is not a request's", control("public"), None),
    Reading("5.2.1.1", "§5.2.1.1", "max-age", control("max-age=60"), Wishes(max_age=60)),
    Reading("5.2.1.1-0", "§5.2.1.1", "of nothing", control("max-age=0"), Wishes(max_age=0)),
    Reading("5.2.1.1-q", "§5.2", "quoted", control('max-age="5"'), Wishes(max_age=5)),
    Reading("5.2.1.1-bad", "§5.2.1.1", "unread: 0", control("max-age=x"), Wishes(max_age=0)),
    Reading("5.2.1.1-neg", "§1.2.2", "no sign: 0", control("max-age=-1"), Wishes(max_age=0)),
    Reading("5.2.1.1-float", "§1.2.2", "no float: 0", control("max-age=1.5"), Wishes(max_age=0)),
    Reading("5.2.1.1-bare", "§5.2.1.1", "no number: 0", control("max-age"), Wishes(max_age=0)),
    Reading("5.2.1.1-huge", "§1.2.2", "2^31", control(f"max-age={'9' * 40}"), Wishes(max_age=HUGE)),
    Reading("5.2.1.1-two", "§4.2.1", "first", control("max-age=1, max-age=9"), Wishes(max_age=1)),
    Reading("5.2.1.2", "§5.2.1.2", "max-stale", control("max-stale=9"), Wishes(max_stale=9)),
    Reading("5.2.1.2-any", "§5.2.1.2", "of any age", control("max-stale"), Wishes(max_stale=inf)),
    Reading("5.2.1.2-bad", "§5.2.1.2", "unread: none", control("max-stale=x"), None),
    Reading("5.2.1.2-cut", "§5.2.1.2", "cut off: none", control("max-stale="), None),
    Reading("5.2.1.3", "§5.2.1.3", "min-fresh", control("min-fresh=20"), Wishes(min_fresh=20)),
    Reading("5.2.1.3-bad", "§5.2.1.3", "unread: ∞", control("min-fresh=x"), Wishes(min_fresh=inf)),
    Reading("5.2.1.3-bare", "§5.2.1.3", "bare: ∞", control("min-fresh"), Wishes(min_fresh=inf)),
    Reading("5.2.1.4", "§5.2.1.4", "no-cache", control("no-cache"), Wishes(no_cache=True)),
    Reading("5.2.1.4-case", "§5.2", "in any case", control("No-Cache"), Wishes(no_cache=True)),
    Reading("5.2.1.4-arg", "§5.2", "with what", control("no-cache=a"), Wishes(no_cache=True)),
    Reading("5.2.1.4-late", "§5.2", "anywhere", control("?=?, no-cache"), Wishes(no_cache=True)),
    Reading("5.2.1.5", "§5.2.1.5", "no-store", control("no-store"), Wishes(no_store=True)),
    Reading(
        "5.2.1.6", "§5.2.1.6", "no-transform", control("no-transform"), Wishes(no_transform=True)
    ),
    Reading(
        "5.2.1.7", "§5.2.1.7", "only-if-cached", control("only-if-cached"),
        Wishes(only_if_cached=True),
    ),
    Reading(
        "5861-4", "RFC 5861 §4", "on error", control("stale-if-error=9"), Wishes(stale_if_error=9)
    ),
    Reading("5861-4-bad", "RFC 5861 §4", "unread: none", control("stale-if-error=x"), None),
    Reading(
        "several", "§5.2", "all of a list", control("no-store,max-age=1 , max-stale"),
        Wishes(no_store=True, max_age=1, max_stale=inf),
    ),
    Reading("quoted", "§5.2", "what is quoted is no directive", control('a="no-cache"'), None),
    Reading(
        "endless", "§5.2", "what is too long to read might say anything",
        control("a," * 5000), Wishes(no_cache=True, no_store=True, unread=True),
    ),
    Reading(
        "longest", "design §6", "up to the bound all is read",
        control("max-stale=5" + "," * (MAX_VALUE - 11)), Wishes(max_stale=5),
    ),
    Reading("5.4-1", "§5.4", "Pragma stands in", {"pragma": "No-Cache"}, Wishes(no_cache=True)),
    Reading("5.4-list", "§5.4", "in a list", {"pragma": "a=b, no-cache"}, Wishes(no_cache=True)),
    Reading("5.4-other", "§5.4", "for that word only", {"pragma": "no-store"}, None),
    Reading(
        "5.4-beside", "RFC 7234 §5.4", "but not beside Cache-Control",
        {"pragma": "no-cache", "cache-control": "max-age=9"}, Wishes(max_age=9),
    ),
    Reading(
        "5.4-other", "RFC 7234 §5.4", "whatever that says",
        {"pragma": "no-cache", "cache-control": "foo"}, None,
    ),
    Reading(
        "5.4-empty", "RFC 7234 §5.4", "unless it is empty",
        {"pragma": "no-cache", "cache-control": ""}, Wishes(no_cache=True),
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", READINGS, ids=lambda row: row.id)
def test_a_request_says_what_it_wants(row: Reading) -> None:
    assert wishes(row.given) == row.expect, row.says


class _Counting:
    """Request fields that tell what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, name: str) -> str | None:
        """Nothing; each name is noted."""
        self.asked.append(name)
        return None


def test_a_request_that_says_nothing_costs_two_look_ups() -> None:
    fields = _Counting()
    assert wishes(fields) is None
    assert fields.asked == ["cache-control", "pragma"]


def test_a_rule_that_ignores_reloads_keeps_the_other_wishes() -> None:
    said = "no-cache, max-age=0, min-fresh=9, no-store, only-if-cached, max-stale=5"
    expect = Wishes(no_store=True, only_if_cached=True, max_stale=5)
    assert wishes(control(said), reloads=False) == expect
    assert wishes(control("max-age=0"), reloads=False) is None
    assert wishes({"pragma": "no-cache"}, reloads=False) is None
    # The two readings of one value are not mixed up in what is remembered.
    assert wishes(control("max-age=0")) == Wishes(max_age=0)


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        (Wishes(), False),
        (Wishes(no_store=True, only_if_cached=True, max_stale=9, stale_if_error=9), False),
        (Wishes(no_cache=True), True),
        (Wishes(max_age=0), True),
        (Wishes(min_fresh=0), True),
    ],
)
def test_who_may_not_take_a_fresh_page_takes_none_on_its_way(given: Wishes, expect: bool) -> None:
    # §5.2.1.1, §5.2.1.3, §5.2.1.4: of the requests that wait for another's answer.
    assert given.demands is expect


class Judgement(NamedTuple):
    """A sentence, what the client says, the page's age on arrival, the second, and the verdict."""

    id: str
    rfc: str
    says: str
    given: Wishes
    at: float
    expect: bool
    page: StoredResponse = page()


FRESH = [
    Judgement("4.2-12", "§4.2", "nothing said, nothing asked", Wishes(), 1050, True),
    Judgement("5.2.1.1-1", "§5.2.1.1", "younger than max-age", Wishes(max_age=60), 1050, True),
    Judgement("5.2.1.1-eq", "§5.2.1.1", "or just as old", Wishes(max_age=60), 1060, True),
    Judgement("5.2.1.1-old", "§5.2.1.1", "not older", Wishes(max_age=60), 1060.1, False),
    Judgement("5.2.1.1-age", "§4.2.3", "its Age counts", Wishes(max_age=60), 1050, False, page(20)),
    Judgement("5.2.1.1-fit", "§4.2.3", "to the second", Wishes(max_age=60), 1040, True, page(20)),
    Judgement("5.2.1.1-0", "§4", "max-age=0 validates", Wishes(max_age=0), 1000, False),
    Judgement("5.2.1.1-1s", "§5.2.1.1", "one second is some", Wishes(max_age=1), 1001, True),
    Judgement("5.2.1.1-back", "§5.2.1.1", "a clock set back", Wishes(max_age=5), 990, True),
    Judgement("5.2.1.1-0-back", "§4", "validates too", Wishes(max_age=0), 990, False),
    Judgement("5.2.1.1-ms", "§5.2.1.1", "with max-stale too", Wishes(max_age=9, max_stale=inf),
              1050, False),
    Judgement("5.2.1.3-1", "§5.2.1.3", "fresh for long enough", Wishes(min_fresh=50), 1050, True),
    Judgement("5.2.1.3-2", "§5.2.1.3", "or not", Wishes(min_fresh=50), 1050.1, False),
    Judgement("5.2.1.3-age", "§4.2.3", "its Age counts", Wishes(min_fresh=50), 1040, False,
              page(20)),
    Judgement("5.2.1.3-bad", "§5.2.1.3", "never for ever", Wishes(min_fresh=inf), 1000, False),
    Judgement("5.2.1.3-both", "§5.2.1", "both must hold", Wishes(max_age=60, min_fresh=50), 1055,
              False),
    Judgement("5.2.1.4-1", "§5.2.1.4", "not unless validated", Wishes(no_cache=True), 1000, False),
    Judgement("5.2.1.5-6", "§5.2.1.5", "no-store is of this answer only", Wishes(no_store=True),
              1050, True),
    Judgement("5.2.1.7-1", "§5.2.1.7", "a stored one is wanted", Wishes(only_if_cached=True), 1050,
              True),
    Judgement("5.2.1.7-2", "§5.2.1.7", "within the other constraints",
              Wishes(only_if_cached=True, max_age=9), 1050, False),
    Judgement("5.2.1.2-1", "§5.2.1.2", "max-stale takes fresh ones", Wishes(max_stale=9), 1050,
              True),
]  # fmt: skip


@pytest.mark.parametrize("row", FRESH, ids=lambda row: row.id)
def test_a_fresh_page_does_or_does_not(row: Judgement) -> None:
    assert row.given.accepts_fresh(row.page, row.at) is row.expect, row.says


# Expired at second 1100.
STALE = [
    Judgement("4.2.4-3", "§4.2.4", "nobody said so", Wishes(), 1110, False),
    Judgement("5.2.1.2-2", "§5.2.1.2", "within max-stale", Wishes(max_stale=10), 1109, True),
    Judgement("5.2.1.2-2e", "§5.2.1.2", "to its end", Wishes(max_stale=10), 1110, True),
    Judgement("5.2.1.2-2o", "§5.2.1.2", "not past it", Wishes(max_stale=10), 1110.1, False),
    Judgement("5.2.1.2-3", "§5.2.1.2", "any without a number", Wishes(max_stale=inf), 9e9, True),
    Judgement("5.2.1.2-sie", "§5.2.1.2", "past our own window", Wishes(max_stale=60), 1150, True,
              page(unreachable=30)),
    Judgement("4.2.4-2", "§4.2.4", "never where it is forbidden", Wishes(max_stale=inf), 1110,
              False, page(unreachable=0)),
    Judgement("4.2.4-little", "§4.2.4", "allowed a little, more is the client's",
              Wishes(max_stale=60), 1110, True, page(unreachable=0.5)),
    Judgement("5.2.1.1-2", "§5.2.1.1", "max-age alone wants it fresh", Wishes(max_age=500), 1110,
              False),
    Judgement("5.2.1.1-2ms", "§5.2.1.1", "with max-stale both count",
              Wishes(max_age=500, max_stale=60), 1110, True),
    Judgement("5.2.1.1-2mo", "§5.2.1.1", "age too", Wishes(max_age=105, max_stale=60), 1110, False),
    Judgement("5.2.1.1-2mz", "§5.2.1.1", "also of 0", Wishes(max_age=0, max_stale=inf), 1110,
              False),
    Judgement("5.2.1.3-s", "§5.2.1.3", "min-fresh wants it fresh",
              Wishes(min_fresh=0, max_stale=inf), 1110, False),
    Judgement("5.2.1.4-s", "§5.2.1.4", "no-cache wants it validated",
              Wishes(no_cache=True, max_stale=inf), 1110, False),
    Judgement("5.2.1.7-s", "§5.2.1.7", "only-if-cached may add to it",
              Wishes(only_if_cached=True, max_stale=10), 1109, True),
    Judgement("5861-4-s", "RFC 5861 §4", "stale-if-error is for errors",
              Wishes(stale_if_error=60), 1110, False),
]  # fmt: skip


@pytest.mark.parametrize("row", STALE, ids=lambda row: row.id)
def test_an_expired_page_does_only_by_the_clients_leave(row: Judgement) -> None:
    assert row.given.accepts_stale(row.page, row.at) is row.expect, row.says


BORNE = [
    Judgement("5861-3", "RFC 5861 §3", "nothing against it", Wishes(), 1110, True),
    Judgement("no-store", "§5.2.1.5", "no-store is not", Wishes(no_store=True), 1110, True),
    Judgement("only", "§5.2.1.7", "only-if-cached is not", Wishes(only_if_cached=True), 1110, True),
    Judgement("max-age", "§5.2.1.1", "max-age is", Wishes(max_age=900), 1110, False),
    Judgement("min-fresh", "§5.2.1.3", "min-fresh is", Wishes(min_fresh=0), 1110, False),
    Judgement("no-cache", "§5.2.1.4", "no-cache is", Wishes(no_cache=True), 1110, False),
    Judgement("max-stale", "§5.2.1.2", "max-stale bounds it", Wishes(max_stale=9), 1110, False),
    Judgement("max-stale-in", "§5.2.1.2", "or does not", Wishes(max_stale=10), 1110, True),
]


@pytest.mark.parametrize("row", BORNE, ids=lambda row: row.id)
def test_a_client_may_object_to_a_page_that_its_rule_serves_stale(row: Judgement) -> None:
    assert row.given.bears_stale(row.page, row.at) is row.expect, row.says


ERRORS = [
    Judgement("4-none", "RFC 5861 §4", "nobody said so", Wishes(), 1110, False),
    Judgement("4-page", "RFC 5861 §4", "the page did", Wishes(), 1110, True, page(on_error=30)),
    Judgement("4-request", "RFC 5861 §4", "the request did", Wishes(stale_if_error=30), 1110, True),
    Judgement("4-over", "RFC 5861 §4", "not for so long", Wishes(stale_if_error=30), 1130, False),
    Judgement("4-longer", "RFC 5861 §4", "the longer window", Wishes(stale_if_error=5), 1110, True,
              page(on_error=30)),
    Judgement("4-any", "RFC 5861 §4", "whatever is said of freshness", Wishes(max_age=0), 1110,
              True, page(on_error=30)),
    Judgement("4-no-cache", "§5.2.1.4", "but for no-cache",
              Wishes(no_cache=True, stale_if_error=30), 1110, False, page(on_error=30)),
    Judgement("4.2.4-2", "§4.2.4", "never where it is forbidden", Wishes(stale_if_error=30), 1110,
              False, page(unreachable=0)),
    Judgement("4.2.4-little", "§4.2.4", "allowed a little, it is allowed",
              Wishes(stale_if_error=30), 1110, True, page(unreachable=0.5)),
    Judgement("4-at-once", "RFC 5861 §4", "silence is no window", Wishes(), 1100, False),
]  # fmt: skip


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row.id)
def test_an_expired_page_stands_in_for_an_error(row: Judgement) -> None:
    assert row.given.accepts_on_error(row.page, row.at) is row.expect, row.says


WORDS = st.sampled_from(
    ["no-cache", "no-store", "max-age", "min-fresh", "max-stale", "only-if-cached", "x"]
)
ARGUMENTS = st.sampled_from(["", "=0", "=5", '="5"', "=x", "=", "=-1", '="', '="a, b"', " =1"])
VALUES = st.lists(st.tuples(WORDS, ARGUMENTS).map("".join), max_size=4).map(",".join) | st.text()


@given(VALUES, VALUES, st.floats(900, 1200))
def test_no_value_makes_a_reading_or_a_judgement_fail(value: str, pragma: str, now: float) -> None:
    asked = wishes({"cache-control": value, "pragma": pragma}) or Wishes()
    stored = page()
    # More is never had by saying more: only max-stale opens what silence leaves closed.
    if asked.accepts_stale(stored, now):
        assert asked.max_stale is not None and not asked.no_cache
    stored.stale_if_unreachable = 0.0
    assert not asked.accepts_stale(stored, now)
    assert not asked.accepts_on_error(stored, now)


@given(
    st.lists(st.tuples(WORDS, st.sampled_from(["", "=5"])), max_size=4, unique_by=lambda w: w[0])
)
def test_well_formed_values_are_read_as_werkzeug_reads_them(words: list[tuple[str, str]]) -> None:
    # Not compared: arguments where none belongs, and none where one does, which werkzeug 3 takes
    # as absent or as text; and duplicates, of which it keeps the last.
    numeric = ("max-age", "min-fresh")
    text = ", ".join(w + (a if w in (*numeric, "max-stale") else "") for w, a in words)
    if any(word in numeric and not argument for word, argument in words):
        return
    theirs = parse_cache_control_header(text, cls=RequestCacheControl)
    ours = wishes(control(text)) or Wishes()
    assert (ours.no_cache, ours.no_store) == (bool(theirs.no_cache), theirs.no_store)
    assert (ours.only_if_cached, ours.max_age) == (theirs.only_if_cached, theirs.max_age)
    assert ours.min_fresh == theirs.min_fresh
    stale = dict(words).get("max-stale")
    assert ours.max_stale == (None if stale is None else 5.0 if stale else inf)
