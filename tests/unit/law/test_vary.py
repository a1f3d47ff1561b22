"""Which ``Vary`` a stored response may have (RFC 9111 §4.1, RFC 9110 §12.5.5).

When two requests agree in the fields it names is the matter of ``test_vary_matching.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.fields import MAX_VALUE
from pagegen.law.vary import MAX_SELECTING, selectable, selecting, uncovered
from pagegen.messages import Fields, ResponseHead


class Rule(NamedTuple):
    """A response, and the fields that select it besides the keyed ones (None: nobody knows)."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: tuple[str, ...] | None
    keyed: tuple[str, ...] = ("host",)


def vary(*values: str) -> Fields:
    """Fields of a response with these lines of Vary."""
    return tuple(("Vary", value) for value in values)


def names(count: int) -> str:
    """So many names."""
    return ", ".join(f"x-{number}" for number in range(count))


RULES = [
    Rule("none", "9111 §4.1-1", "without Vary nothing has to match", (), ()),
    Rule("empty", "9110 §5.6.1.2-1", "empty members are passed over", vary(" , ,"), ()),
    Rule("blank", "9110 §5.6.1.2-1", "a blank value names nobody", vary(" "), ()),
    Rule("one", "9111 §4.1-1", "a named field has to match", vary("Cookie"), ("cookie",)),
    Rule("case", "9110 §12.5.5-3", "names have no case", vary("COOKIE, cookie"), ("cookie",)),
    Rule("any", "9110 §12.5.5-3", "any field name can be named", vary("x!y"), ("x!y",)),
    Rule("order", "9110 §12.5.5-2", "it is a set", vary("Origin, Accept"), ("accept", "origin")),
    Rule("tabs", "9110 §5.6.1", "tabs may stand around", vary("a\t,\tb"), ("a", "b")),
    Rule("lines", "9110 §5.3", "two lines are one list", vary("a", "b"), ("a", "b")),
    Rule(
        "keyed", "9111 §4.1-1", "the slot tells keyed ones apart", vary("HOST, Origin"), ("origin",)
    ),
    Rule("all-keyed", "9111 §4.1-1", "all of them may be", vary("a, b"), (), ("a", "b")),
    Rule("star", "9111 §4.1-4", "a star never matches", vary("*"), None),
    Rule("star-first", "9111 §4.1-4", "not beside others either", vary("*, Accept"), None),
    Rule("star-later", "9111 §4.1-4", "wherever it stands", vary("Accept, *"), None),
    Rule("star-line", "9111 §4.1-4", "nor on a line of its own", vary("Accept", "*"), None),
    Rule("star-keyed", "9111 §4.1-4", "nor when it is keyed", vary("*"), None, ("*",)),
    Rule("space", "9110 §5.1", "what is no name matches nothing", vary("User Agent"), None),
    Rule("quoted", "9110 §5.1", "nor does text in quotes", vary('"accept"'), None),
    Rule("parameter", "9110 §5.1", "nor a name with a parameter", vary("accept;q=1"), None),
    Rule("non-ascii", "9110 §5.1", "nor one of other letters", vary("ä"), None),
    Rule(
        "coding",
        "9111 §4.1-1",
        "the coding counts, whether the response has one or not",
        vary("Accept-Encoding"),
        ("accept-encoding",),
    ),
    Rule(
        "many",
        "design §6",
        "as many as the bound",
        vary(names(MAX_SELECTING)),
        tuple(sorted(names(MAX_SELECTING).split(", "))),
    ),
    Rule("too-many", "design §6", "but no more", vary(names(MAX_SELECTING + 1)), None),
    Rule(
        "many-keyed",
        "design §6",
        "keyed ones are not counted",
        vary(f"{names(MAX_SELECTING)}, host"),
        tuple(sorted(names(MAX_SELECTING).split(", "))),
    ),
    Rule("underscore", "design §5", "WSGI shows it as another", vary("x-a, x_b"), None),
    Rule("long", "design §6", "as long as can be", vary("a" * MAX_VALUE), ("a" * MAX_VALUE,)),
    Rule("too-long", "design §6", "nor what is too long", vary("a" * (MAX_VALUE + 1)), None),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc.replace(' §', '-')}-{rule.id}")
def test_vary_names_the_fields_that_select(rule: Rule) -> None:
    assert selecting(ResponseHead(200, rule.given), rule.keyed) == rule.expect, rule.says


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc.replace(' §', '-')}-{rule.id}")
def test_a_response_is_selectable_when_its_selecting_fields_are_known(rule: Rule) -> None:
    head = ResponseHead(200, rule.given)
    assert selectable(head) is (selecting(head) is not None)
    # What is keyed is none the less a name of too many.
    assert selectable(head) is (rule.expect is not None and rule.id != "many-keyed"), rule.says


@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from(["*", ",", "a", "Host"]))))
def test_no_vary_raises_and_the_names_come_sorted_once_and_in_lower_case(lines: list[str]) -> None:
    found = selecting(ResponseHead(200, vary(*lines)), ("host",))
    if found is not None:
        assert list(found) == sorted(set(found))
        assert all(name == name.lower() and name not in ("", "*", "host") for name in found)


class Keyed(NamedTuple):
    """A response to a keyed rule, the keyed fields, and the member of ``Vary`` the key lacks."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: str | None
    keyed: tuple[str, ...] = ("host", "accept-language")


GZIP = ("Content-Encoding", "gzip")
KEYED = [
    Keyed("none", "9111 §4.1-1", "no Vary needs nothing", (), None),
    Keyed("empty", "9110 §5.6.1", "an empty list names nobody", vary(" , "), None),
    Keyed("keyed", "9111 §4.1-1", "a keyed member", vary("Accept-Language"), None),
    Keyed("host", "9111 §4.1-1", "the host is always keyed", (("VARY", "HOST"),), None),
    Keyed("unkeyed", "9111 §4.1-1", "an unkeyed member", vary("Cookie"), "cookie"),
    Keyed("later", "9111 §4.1-1", "behind a keyed one", vary("host, Origin"), "origin"),
    Keyed("lines", "9110 §5.3", "on a second line", vary("host", "Origin"), "origin"),
    Keyed("star", "9111 §4.1-4", "a star never matches", vary("*"), "*"),
    Keyed("star-later", "9111 §4.1-4", "not even among others", vary("host, *"), "*"),
    Keyed("star-keyed", "9111 §4.1-4", "whatever is keyed", vary("*"), "*", ("*", "host")),
    Keyed("plain", "9110 §12.5.3", "uncoded is for all", vary("Accept-Encoding"), None),
    Keyed("beside", "9111 §4.1-1", "others count", vary("Accept-Encoding, Origin"), "origin"),
    Keyed(
        "coded",
        "9110 §12.5.3",
        "coded is for some",
        (*vary("Accept-Encoding"), GZIP),
        "accept-encoding",
    ),
    Keyed(
        "coded-keyed",
        "9111 §4.1-1",
        "unless it is keyed",
        (*vary("Accept-Encoding"), GZIP),
        None,
        ("accept-encoding",),
    ),
]


@pytest.mark.parametrize("case", KEYED, ids=lambda case: f"{case.rfc.replace(' §', '-')}-{case.id}")
def test_every_member_of_vary_is_in_the_key_of_a_keyed_rule(case: Keyed) -> None:
    assert uncovered(ResponseHead(200, case.given), case.keyed) == case.expect, case.says
