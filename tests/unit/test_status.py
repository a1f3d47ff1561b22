"""``Cache-Status``: each member parses, and says what RFC 9211 lets it say.

Section numbers are RFC 9211's unless another is named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import status
from pagegen.keys import slot
from pagegen.law.storing import Refusal
from pagegen.messages import StoredResponse
from pagegen.rules import Rule
from pagegen.status import (
    CAUSES,
    MAX_DETAIL,
    MAX_INTEGER,
    Counters,
    Tell,
    appended,
    appended_wire,
    key_of,
    of_admitted,
    of_bypass,
    of_forward,
    of_hit,
    of_rescue,
)
from pagegen.verdicts import Admitted, Bypass, Hit, Inputs, Plan, Reason, Refused, Stale, Ticket

KEY: Final = bytes(range(20))
PAGE: Final = cast(StoredResponse, None)  # no builder looks into it
RULE: Final = Rule(path="/a", share="public", ttl=60)
PLAN: Final = Plan(RULE, b"key", KEY, (), frozenset(), Inputs("a.example", ""))

#: Types of the parameters (§2.1 to §2.8).
TYPES: Final[dict[str, tuple[type, ...]]] = {
    "hit": (bool,),
    "fwd": (http_sf.Token,),
    "fwd-status": (int,),
    "ttl": (int,),
    "stored": (bool,),
    "collapsed": (bool,),
    "key": (str,),
    "detail": (str, http_sf.Token),
}
ONLY_FORWARD: Final = {"fwd-status", "stored", "collapsed"}


def ticket(cause: str = "uri-miss", *changed: str) -> Ticket:
    """A ticket of this cause, for a page that lost these namespaces."""
    return Ticket(PLAN, PLAN, (), 0.0, cause, changed)


def parsed(value: str) -> list[tuple[Any, dict[str, Any]]]:
    """The members of a field's value, each with its parameters."""
    members = http_sf.parse(value.encode("ascii"), tltype="list")
    return cast("list[tuple[Any, dict[str, Any]]]", members)


def said(value: str) -> dict[str, Any]:
    """The parameters of the only member, tokens as text, all rules of RFC 9211 §2 checked."""
    [(name, parameters)] = parsed(value)
    assert isinstance(name, http_sf.Token)
    assert str(name) == "pagegen"
    assert parameters.keys() <= TYPES.keys()
    for parameter, found in parameters.items():
        # bool is an int for isinstance, and would be another type on the wire.
        assert type(found) in TYPES[parameter], (parameter, found)
    assert ("hit" in parameters) != ("fwd" in parameters)
    assert parameters.get("hit") in (None, True)
    if "fwd" in parameters:
        assert str(parameters["fwd"]) in CAUSES
    else:
        assert not ONLY_FORWARD & parameters.keys()
    assert list(parameters) == [name for name in TYPES if name in parameters]
    return {name: str(v) if isinstance(v, http_sf.Token) else v for name, v in parameters.items()}


class Case(NamedTuple):
    """A member, and the parameters that it must have."""

    id: str
    rfc: str
    says: str
    given: Callable[[], str]
    expect: dict[str, Any]


HIT: Final = Hit(PAGE, 3, 57)
OLD: Final = Stale(PAGE, 70, -10, None)
MISS: Final = {"fwd": "uri-miss"}
FAILED: Final = {"fwd": "stale", "ttl": -10}

CASES: Final = [
    Case("2.1-1", "§2.1 s1", "from the cache", lambda: of_hit(HIT), {"hit": True, "ttl": 57}),
    Case(
        "2.1-4",
        "§2.1 s4",
        "an expired page without a forward is a hit",
        lambda: of_hit(OLD),
        {"hit": True, "ttl": -10},
    ),
    Case(
        "2.1-3",
        "§2.1 s3",
        "an expired page after a forward is none",
        lambda: of_rescue(OLD, status=503),
        {"fwd": "stale", "fwd-status": 503, "ttl": -10, "detail": "stale-if-error"},
    ),
    Case(
        "2.1-3-raised",
        "§2.1 s3",
        "nor when the application gave no status",
        lambda: of_rescue(OLD),
        {**FAILED, "detail": "stale-if-unreachable"},
    ),
    Case(
        "2.2-bypass",
        "§2.2 bypass",
        "not to be handled",
        lambda: of_bypass(Bypass(Reason.QUERY)),
        {"fwd": "bypass", "detail": "query"},
    ),
    Case(
        "2.2-method",
        "§2.2 method",
        "the method must go forward",
        lambda: of_bypass(Bypass(Reason.METHOD)),
        {"fwd": "method", "detail": "method"},
    ),
    Case(
        "2.2-unknown",
        "§2.2 miss",
        "the least specific one for what is none",
        lambda: of_forward(ticket("gone; hit"), None, stored=False),
        {"fwd": "miss"},
    ),
    *(
        Case(
            f"2.2-{cause}",
            f"§2.2 {cause}",
            "why it went forward",
            lambda cause=cause: of_forward(ticket(cause), None, stored=False),  # type: ignore[misc]
            {"fwd": cause},
        )
        for cause in sorted(CAUSES)
    ),
    Case(
        "2.3-1",
        "§2.3 s1",
        "a validated page",
        lambda: of_forward(ticket("stale"), None, stored=True, status=304, ttl=60),
        {"fwd": "stale", "fwd-status": 304, "ttl": 60, "stored": True},
    ),
    Case(
        "2.3-none",
        "§2.3 s1",
        "what is no status code is left out",
        lambda: of_forward(ticket(), None, stored=False, status=0),
        MISS,
    ),
    Case(
        "2.3-four",
        "§2.3 s1",
        "nor has one four digits",
        lambda: of_forward(ticket(), None, stored=False, status=1000),
        MISS,
    ),
    Case(
        "2.4-1",
        "§2.4 s1",
        "seconds left of a page just stored",
        lambda: of_forward(ticket(), None, stored=True, ttl=60),
        {**MISS, "ttl": 60, "stored": True},
    ),
    Case(
        "2.4-zero",
        "§2.4 s1",
        "none left is said too",
        lambda: of_forward(ticket(), None, stored=True, ttl=0),
        {**MISS, "ttl": 0, "stored": True},
    ),
    Case(
        "2.4-most",
        "RFC 9651 §3.3.1",
        "an integer has 15 digits",
        lambda: of_forward(ticket(), None, stored=False, ttl=10**30),
        {**MISS, "ttl": MAX_INTEGER},
    ),
    Case(
        "2.4-least",
        "RFC 9651 §3.3.1",
        "below 0 as well",
        lambda: of_hit(Hit(PAGE, 0, -(10**30))),
        {"hit": True, "ttl": -MAX_INTEGER},
    ),
    Case(
        "2.5-1",
        "§2.5 s1",
        "what was refused is not stored",
        lambda: of_forward(ticket(), Refused(Refusal.NO_STORE), stored=True),
        {**MISS, "detail": "refused-no-store"},
    ),
    Case(
        "2.5-validated",
        "§2.5 s1",
        "nor is a validated page that may not be kept",
        lambda: of_forward(ticket("stale"), Admitted(PAGE, Refusal.OWED), stored=True, status=304),
        {"fwd": "stale", "fwd-status": 304, "detail": "refused-owed"},
    ),
    Case(
        "2.5-admitted",
        "§2.5 s1",
        "what was admitted is",
        lambda: of_forward(ticket(), Admitted(PAGE), stored=True),
        {**MISS, "stored": True},
    ),
    Case(
        "2.6-1",
        "§2.6 s2",
        "another request's page",
        lambda: of_hit(Hit(PAGE, 0, 60, collapsed=True)),
        {"fwd": "miss", "ttl": 60, "stored": True, "collapsed": True},
    ),
    Case(
        "2.7-hit",
        "§2.7",
        "the key of a hit",
        lambda: of_hit(HIT, key=KEY),
        {"hit": True, "ttl": 57, "key": KEY.hex()},
    ),
    Case(
        "2.7-forward",
        "§2.7",
        "of a forward",
        lambda: of_forward(ticket(), None, stored=False, key=KEY),
        {**MISS, "key": KEY.hex()},
    ),
    Case(
        "2.7-rescue",
        "§2.7",
        "of a page that stands in",
        lambda: of_rescue(OLD, key=KEY),
        {**FAILED, "key": KEY.hex(), "detail": "stale-if-unreachable"},
    ),
    Case(
        "2.7-digits",
        "§2.7",
        "digits are text, not a number",
        lambda: of_hit(HIT, key=b"\x12\x34"),
        {"hit": True, "ttl": 57, "key": "1234"},
    ),
    Case(
        "2.8-changed",
        "§2.8",
        "which namespaces changed",
        lambda: of_forward(ticket("stale", "item:7", 'a "b" \\c'), None, stored=True),
        {"fwd": "stale", "stored": True, "detail": 'changed: item:7, a "b" \\c'},
    ),
    Case(
        "2.8-refused",
        "§2.8",
        "a refusal comes before what changed",
        lambda: of_forward(ticket("stale", "a"), Refused(Refusal.VARY), stored=False),
        {"fwd": "stale", "detail": "refused-vary"},
    ),
    Case(
        "2.8-line",
        "RFC 9651 §3.3.3",
        "neither line breaks nor what is not ASCII",
        lambda: of_forward(ticket("stale", "a\r\nX: \xe9\udc80"), None, stored=False),
        {"fwd": "stale", "detail": "changed: a??X: ??"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_member_has_exactly_these_parameters(case: Case) -> None:
    assert said(case.given()) == case.expect


def test_every_combination_of_a_forward_is_one_well_formed_member() -> None:
    outcomes = (None, Refused(Refusal.PRIVATE), Admitted(PAGE))
    changed = ((), ("item:7", 'user:"x"'))
    count = 0
    for cause, names, outcome, stored, code, ttl, key in product(
        CAUSES, changed, outcomes, (True, False), (None, 304), (None, 0, -3), (None, KEY)
    ):
        found = said(
            of_forward(
                ticket(cause, *names),
                outcome,
                stored=stored,
                status=code,
                ttl=ttl,
                key=key,
            )
        )
        refused = isinstance(outcome, Refused)
        assert found.get("stored", False) is (stored and not refused)
        assert (found.get("fwd-status"), found.get("ttl")) == (code, ttl)
        assert "collapsed" not in found
        assert ("detail" in found, "key" in found) == (refused or bool(names), key is not None)
        count += 1
    assert count == 8 * 2 * 3 * 2 * 2 * 3 * 2


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("ttl", [60, 0, -60])
def test_every_combination_of_a_hit_is_one_well_formed_member(ttl: int, key: bytes | None) -> None:
    expect = {"hit": True, "ttl": ttl} | ({"key": key.hex()} if key else {})
    assert said(of_hit(Hit(PAGE, 0, ttl), key=key)) == expect
    waited = said(of_hit(Hit(PAGE, 0, ttl, collapsed=True), key=key))
    assert (waited["fwd"], waited["ttl"], waited.get("key")) == ("miss", ttl, expect.get("key"))
    stale = Stale(PAGE, 60, ttl, None)
    assert said(of_hit(stale, key=key)) == expect
    for code in (None, 500):
        found = said(of_rescue(stale, status=code, key=key))
        assert (found["ttl"], found.get("fwd-status"), "key" in found) == (ttl, code, bool(key))


@pytest.mark.parametrize("reason", Reason)
def test_every_bypass_is_one_well_formed_member(reason: Reason) -> None:
    expect = {"fwd": "method" if reason is Reason.METHOD else "bypass", "detail": reason.value}
    assert said(of_bypass(Bypass(reason))) == expect


PARTS: Final = SimpleNamespace(key=b"key", status=200, fresh_until=160.0, stored_at=100.0)
STORED: Final = cast(StoredResponse, PARTS)


def test_an_admitted_page_says_its_lifetime_and_what_the_application_answered() -> None:
    member = of_admitted(ticket("stale"), Admitted(STORED), 304, Tell.OUTCOME)
    assert said(member) == {"fwd": "stale", "fwd-status": 304, "ttl": 60, "stored": True}
    refused = of_admitted(ticket("stale"), Admitted(STORED, Refusal.OWED), 304, Tell.OUTCOME)
    assert said(refused) == {"fwd": "stale", "fwd-status": 304, "ttl": 60, "detail": "refused-owed"}


def test_the_key_is_told_only_to_those_who_may_know_it() -> None:
    # §6: the key helps attackers, disguised or not.
    assert key_of(STORED, Tell.ALL) == slot(b"key")
    assert key_of(STORED, Tell.OUTCOME) is None
    assert key_of(STORED, Tell.NOTHING) is None
    assert "key" not in said(of_admitted(ticket(), Admitted(STORED), 200, Tell.OUTCOME))
    told = said(of_admitted(ticket(), Admitted(STORED), 200, Tell.ALL))
    assert told["key"] == slot(b"key").hex()


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_is_named_as_a_token(refusal: Refusal) -> None:
    member = of_forward(ticket(), Refused(refusal), stored=False)
    assert member == f"pagegen; fwd=uri-miss; detail=refused-{refusal}"
    assert said(member)["detail"] == f"refused-{refusal}"


def test_all_parameters_stand_in_one_order() -> None:
    member = of_forward(ticket("stale", "a"), None, stored=True, status=200, ttl=9, key=b"\xab")
    assert member == (
        'pagegen; fwd=stale; fwd-status=200; ttl=9; stored; key="ab"; detail="changed: a"'
    )
    waited = of_hit(Hit(PAGE, 0, 60, collapsed=True), key=b"\xab")
    assert waited == 'pagegen; fwd=miss; ttl=60; stored; collapsed; key="ab"'


def test_only_the_namespaces_that_fit_are_named_and_the_others_counted() -> None:
    names = [f"item:{number:03}" for number in range(300)]
    detail = said(of_forward(ticket("stale", *names), None, stored=False))["detail"]
    listed, _, more = detail.removeprefix("changed: ").rpartition(" and ")
    shown = listed.split(", ")
    assert shown == names[: len(shown)]
    assert more == f"{300 - len(shown)} more"
    assert MAX_DETAIL - 64 < len(detail) <= MAX_DETAIL


def test_namespaces_that_all_fit_are_all_named() -> None:
    names = ["a" * 400, "b" * 400]
    detail = said(of_forward(ticket("stale", *names), None, stored=False))["detail"]
    assert detail == f"changed: {names[0]}, {names[1]}"


def test_a_namespace_that_does_not_fit_alone_is_counted() -> None:
    member = of_forward(ticket("stale", "a" * 2000, "b"), None, stored=False)
    assert said(member)["detail"] == "changed: 2 more"


@given(st.lists(st.text(max_size=600), max_size=40))
def test_any_text_becomes_one_bounded_string(names: list[str]) -> None:
    member = of_forward(ticket("stale", *names), None, stored=True)
    detail = said(member).get("detail", "")
    assert len(detail) <= MAX_DETAIL
    assert len(member) <= 2 * MAX_DETAIL + 100
    assert bool(detail) is bool(names)


OTHERS: Final = [
    ("none", [], []),
    ("one", ["OriginCache; hit; ttl=1100"], ["OriginCache"]),
    ("string", ['"CDN, Company"; hit'], ["CDN, Company"]),
    ("two in a line", ["a; hit, b; fwd=miss"], ["a", "b"]),
    ("two lines", ["a; hit", "b"], ["a", "b"]),
    ("empty", [""], []),
    ("blank between", ["a", " \t", "b"], ["a", "b"]),
    ("itself", ["pagegen; hit; ttl=5"], ["pagegen"]),
]


@pytest.mark.parametrize(
    ("lines", "names"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS]
)
def test_ours_comes_after_what_caches_nearer_to_the_origin_said(
    lines: list[str], names: list[str]
) -> None:
    # §2: the last member is the cache nearest to the user; §2 s8: what is there is kept.
    fields = [("X-A", ""), *(("cAcHe-StAtUs", line) for line in lines), ("X-B", "b")]
    added = appended(fields, of_hit(HIT))
    combined = ", ".join(value for name, value in added if name.lower() == "cache-status")
    assert [str(name) for name, _ in parsed(combined)] == [*names, "pagegen"]
    assert parsed(combined)[-1][1] == {"hit": True, "ttl": 57}
    kept = [pair for pair in fields if pair[0] != "cAcHe-StAtUs" or pair[1].strip()]
    assert list(added) == [*kept, ("Cache-Status", of_hit(HIT))]
    wire = [(name.encode(), value.encode()) for name, value in fields]
    assert appended_wire(wire, of_hit(HIT)) == (
        *((name.encode(), value.encode()) for name, value in kept),
        (b"cache-status", of_hit(HIT).encode()),
    )


def test_what_does_not_parse_is_kept_as_it_came() -> None:
    assert appended([("Cache-Status", "HIT from /a,")], "pagegen; hit") == (
        ("Cache-Status", "HIT from /a,"),
        ("Cache-Status", "pagegen; hit"),
    )


def test_fields_may_come_as_an_iterator() -> None:
    assert appended(iter([("A", "b")]), "m") == (("A", "b"), ("Cache-Status", "m"))
    assert appended_wire(iter([(b"a", b"b")]), "m") == ((b"a", b"b"), (b"cache-status", b"m"))


def test_the_name_is_a_token() -> None:
    assert isinstance(parsed(status.CACHE_NAME)[0][0], http_sf.Token)


def test_counts_are_exact_under_threads_and_between_looks() -> None:
    counters = Counters()
    tick = counters.ticker("ticked")

    def count() -> None:
        for _ in range(20_000):
            counters.count("counted")
            tick()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    last = 0
    while any(thread.is_alive() for thread in threads):
        seen = counters.snapshot().get("ticked", 0)
        assert last <= seen <= 80_000
        last = seen
    for thread in threads:
        thread.join()
    assert counters.snapshot() == {"counted": 80_000, "ticked": 80_000}
    assert counters.snapshot() == {"counted": 80_000, "ticked": 80_000}


def test_what_was_never_counted_is_not_told() -> None:
    counters = Counters()
    counters.ticker("ticked")
    assert counters.snapshot() == {}
    counters.count("late")
    assert counters.snapshot() == {"late": 1}
