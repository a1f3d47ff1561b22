"""The canonical query: one page for one meaning, and handlers read from it exactly the values."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from pagegen.queries import MAX_LENGTH, MAX_PARAMETERS, Query, canonical, decode
from pagegen.readers import QUERY_PRESETS
from pagegen.rules import Rule

DECLARED: dict[str, Any] = {
    "start": {"type": "int", "default": 0, "min": 0},
    "end": {"type": "int", "default": 20, "min": 1, "max": 100},
    "q": {"max_length": 20},
    "sort": {"type": "enum", "values": ["name", "a b&c"], "default": "name"},
    "all": {"type": "bool", "default": False},
    "tag": {"repeat": "list"},
    "of": {"repeat": "set"},
}
RULE = Rule(path="/", share="public", query=DECLARED)
DROPPING = Rule(path="/", share="public", query=DECLARED, other_query="drop")
DEFAULTS = "start=0&end=20&sort=name&all=0"


def text(raw: str, rule: Rule = RULE) -> str | None:
    """The canonical text, None for a bypass."""
    query = canonical(raw, rule)
    return None if query is None else query.text


@pytest.mark.parametrize(
    "raw",
    [
        *("", "&", "&&", "start=0", "start=00&end=20", "end=20&start=0", "all=off", "sort=name"),
        *("%73tart=0", "start=%30", "start=-0", "end=020&&", "all=False", "sort=n%61me"),
    ],
)
def test_all_spellings_of_the_defaults_are_one_query(raw: str) -> None:
    assert text(raw) == DEFAULTS


@pytest.mark.parametrize(
    ("raw", "expect"),
    [
        ("q=", "start=0&end=20&q=&sort=name&all=0"),
        ("q", "start=0&end=20&q=&sort=name&all=0"),
        ("q=a+b", "start=0&end=20&q=a%20b&sort=name&all=0"),
        ("q=a%2Bb", "start=0&end=20&q=a%2Bb&sort=name&all=0"),
        ("q=a=b", "start=0&end=20&q=a%3Db&sort=name&all=0"),
        ("q=%C3%A9", "start=0&end=20&q=%C3%A9&sort=name&all=0"),
        ("sort=a%20b%26c", "start=0&end=20&sort=a%20b%26c&all=0"),
        ("tag=b&q=1&tag=a", "start=0&end=20&q=1&sort=name&all=0&tag=b&tag=a"),
        ("of=b&of=a&of=b", "start=0&end=20&sort=name&all=0&of=a&of=b"),
        ("end=7&all=yes", "start=0&end=7&sort=name&all=1"),
    ],
)
def test_values_are_written_in_one_way(raw: str, expect: str) -> None:
    assert text(raw) == expect


@pytest.mark.parametrize(
    ("why", "raw"),
    [
        ("not of its type", "start=abc"),
        ("empty number", "start="),
        ("below min", "start=-1"),
        ("above max", "end=101"),
        ("not one of the values", "sort=hot"),
        ("twice", "start=0&start=0"),
        ("too long", "q=" + "x" * 21),
        ("not printable", "q=%00"),
        ("not printable", "q=%0a"),
        ("not UTF-8", "q=%ff"),
        ("overlong UTF-8", "q=%c0%af"),
        ("a surrogate", "q=%ed%a0%80"),
        ("half an escape", "q=%4"),
        ("no escape", "q=%zz"),
        ("a semicolon", "start=0;end=1"),
        ("a raw space", "q=a b"),
        ("a raw control character", "q=a\x00"),
        ("raw Unicode", "q=é"),
        ("undeclared", "x=1"),
        ("undeclared and nameless", "=1"),
        ("another case", "Start=0"),
        ("undeclared, in another spelling", "start%20=0"),
        ("not UTF-8 in a name", "%ff=1"),
        ("too long altogether", "&" * (MAX_LENGTH + 1)),
        ("too many", "&" * MAX_PARAMETERS),
    ],
)
def test_a_doubt_is_a_bypass(why: str, raw: str) -> None:
    assert canonical(raw, RULE) is None, why


def test_absent_and_empty_are_two_pages() -> None:
    absent, empty = canonical("", RULE), canonical("q=", RULE)
    assert absent is not None
    assert empty is not None
    assert absent.values != empty.values
    assert dict(absent.values)["q"] == ()
    assert dict(empty.values)["q"] == ("",)


def test_undeclared_parameters_are_taken_out_where_the_rule_says_so() -> None:
    assert text("x=1&start=3&=5&y=%zz", DROPPING) is None  # a doubt stays one
    assert text("x=1&start=3&=5&y=;", DROPPING) is None
    assert text("x=1&start=3&=5", DROPPING) == "start=3&end=20&sort=name&all=0"
    assert text("start=x&y=1", DROPPING) is None
    # What is dropped counts towards the length: nobody reads on to see that.
    assert text(f"x={'a' * (MAX_LENGTH - 2)}", DROPPING) == DEFAULTS
    assert text(f"x={'a' * (MAX_LENGTH - 1)}", DROPPING) is None


@pytest.mark.parametrize("name", ["utm_source", "utm_", "fbclid", "ref", "src_x", "src_"])
def test_listed_parameters_prefixes_and_presets_are_dropped(name: str) -> None:
    rule = Rule(path="/", share="public", drop_query=["@tracking", "ref", "src_*"])
    assert canonical(f"{name}=1", rule) == Query((), "")
    for other in (f"x{name}", name.upper()):
        assert canonical(f"{other}=1", rule) is None


VERBATIM = Rule(path="/", share="public")
MIXED = Rule(path="/", share="public", mode="http", query={"n": {"type": "int"}})
CLEANED = Rule(path="/", share="public", mode="http", drop_query=["@tracking"])


@pytest.mark.parametrize(
    ("rule", "raw", "expect"),
    [
        (VERBATIM, "", (("", ("",)),)),
        (VERBATIM, "b=%zz&a=;&b=1", (("", ("b=%zz&a=;&b=1",)),)),  # a doubt is the handler's own
        (VERBATIM, "x" * MAX_LENGTH, (("", ("x" * MAX_LENGTH,)),)),
        (VERBATIM, "x" * (MAX_LENGTH + 1), None),
        (VERBATIM, "é", None),
        (VERBATIM, "a\n", None),
        (MIXED, "b=2&n=07&a=/", (("n", ("7",)), ("&b", ("2",)), ("&a", ("/",)))),
        (MIXED, "n=x&b=2", None),
        (MIXED, "b=%zz", None),
        (CLEANED, "b=2&utm_x=1&%26b=3", (("&b", ("2",)), ("&&b", ("3",)))),
    ],
    ids=[
        *("empty", "verbatim", "long", "too-long", "raw", "control"),
        *("mixed", "declared-malformed", "malformed", "dropped"),
    ],
)
def test_undeclared_parameters_are_keyed_where_the_rule_is_a_plain_cache(
    rule: Rule, raw: str, expect: tuple[tuple[str, tuple[str, ...]], ...] | None
) -> None:
    query = canonical(raw, rule)
    assert (None if query is None else query.values) == expect
    if query is not None:
        again = canonical(query.text, rule)
        assert again == query
        if rule is VERBATIM:
            assert query.text == raw


def test_a_keyed_rule_without_parameters_keys_nothing_of_a_query() -> None:
    keyed = Rule(path="/", share="public", ttl="1h")
    assert canonical("", keyed) == Query((), "")
    assert canonical("x=1", keyed) is None
    dropping = Rule(path="/", share="public", ttl="1h", other_query="drop")
    assert canonical("x=1&y", dropping) == Query((), "")


def test_undeclared_parameters_are_escaped_as_declared_ones_are() -> None:
    assert text("a/b=c/d&%26n=%26", MIXED) == "a%2Fb=c%2Fd&%26n=%26"


@pytest.mark.parametrize(("more", "stays"), [(0, True), (1, False)])
def test_a_query_is_read_and_written_up_to_its_length(more: int, stays: bool) -> None:
    rule = Rule(path="/", share="public", query={"q": {"max_length": 2 * MAX_LENGTH}})
    raw = f"q={'x' * (MAX_LENGTH - 2 + more)}"
    assert (text(raw, rule) == raw) is stays
    # Escaped, the same text is longer.
    slashes = (MAX_LENGTH - 2) // 3
    over = (MAX_LENGTH - 2) % 3 + more
    raw = f"q={'/' * slashes}{'x' * over}"
    assert (canonical(raw, rule) is not None) is stays


def test_a_declared_parameter_is_never_dropped() -> None:
    rule = Rule(path="/", share="public", query={"utm_id": {}}, drop_query=["@tracking"])
    assert text("utm_id=5&utm_x=1", rule) == "utm_id=5"


def test_presets_hold_no_name_that_an_application_uses_itself() -> None:
    for name in ("id", "page", "q", "start", "end", "ref", "source", "lang"):
        assert name not in QUERY_PRESETS["@tracking"]


def test_decoding_reads_what_handlers_read() -> None:
    assert decode("a+b%20c%2B") == "a b c+"
    assert decode("%e2%82%ac") == "€"
    assert decode("%ff") is None


VALUE = st.one_of(
    st.sampled_from(["", "0", "7", "007", "x", "name", "a%20b%26c", "on", "a+b", "%c3%A9", "%26"]),
    st.text("ab+%&=;0", max_size=5),
)
NAME = st.sampled_from([*DECLARED, *DECLARED, "%71", "utm_x", ""])
PAIR = st.builds("{}={}".format, NAME, VALUE)
RAW = st.one_of(st.text(), st.lists(PAIR, max_size=6).map("&".join))
RULES = st.sampled_from([RULE, DROPPING])


@settings(deadline=None, max_examples=500)
@given(RAW, RULES)
def test_canonical_is_idempotent_and_never_raises(raw: str, rule: Rule) -> None:
    query = canonical(raw, rule)
    if query is not None:
        assert canonical(query.text, rule) == query


@settings(deadline=None, max_examples=500)
@given(RAW, RULES)
def test_handlers_read_exactly_the_values_from_the_text(raw: str, rule: Rule) -> None:
    query = canonical(raw, rule)
    if query is None:
        return
    expect = [(name, value) for name, values in query.values for value in values]
    assert parse_qsl(query.text, keep_blank_values=True, strict_parsing=bool(expect)) == expect
    assert QueryParams(query.text).multi_items() == expect
    assert query.text.isascii()


@settings(deadline=None, max_examples=500)
@given(RAW, RULES)
def test_the_values_are_those_that_the_handler_would_have_read_itself(raw: str, rule: Rule) -> None:
    query = canonical(raw, rule)
    if query is None:
        return
    bare = parse_qsl(raw, keep_blank_values=True)
    for name, values in query.values:
        given_values = [value for key, value in bare if key == name]
        parameter = rule.parameters[name]
        assert values == parameter.canonical(given_values)


@settings(deadline=None, max_examples=300)
@given(st.permutations(["start=1", "end=2", "q=x", "sort=name", "all=1", "of=a"]), st.data())
def test_the_order_of_different_parameters_does_not_matter(
    pairs: list[str], data: st.DataObject
) -> None:
    pairs = pairs[: data.draw(st.integers(0, len(pairs)))]
    assert canonical("&".join(pairs), RULE) == canonical("&".join(sorted(pairs)), RULE)
    assert canonical("&".join(pairs), RULE) is not None


def test_a_canonical_text_is_never_longer_than_a_query_may_be() -> None:
    # Escaping makes "/" three times as long: what comes out should be readable by who wrote it.
    names = [f"p{number}" for number in range(30)]
    rule = Rule(path="/", share="public", query={name: {} for name in names})
    query = canonical("&".join(f"{name}={'/' * 250}" for name in names), rule)
    assert query is None or canonical(query.text, rule) == query
