"""Names of namespaces, escaping, and templates that no value can steer elsewhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pagegen.errors import NamespaceError
from pagegen.namespaces import MAX_LENGTH, Template, check, escape, is_name, namespace, parse

UNRESERVED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
VALUES = st.one_of(st.text(), st.text("ab/:{}% .\0é"), st.integers().map(str))
PIECES = ("a", "/", ":", " ", "%2F", "/item:", "/favorites", "/orders", "é", "{a}")
STEERING = {"".join(parts) for n in range(3) for parts in itertools.product(PIECES, repeat=n)}
TEMPLATES = ["user:{a}/item:{b}", "{a}:{b}", "list {a} {b} end", "x/{a}/{b}/y"]


@pytest.mark.parametrize(
    "name", ["a", "item:7", "user:42/favorites", "with space", '"quoted"', "x" * MAX_LENGTH, "{"]
)
def test_printable_ascii_is_a_name(name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " a", "a ", "é", "a\n", "a\tb", "\x7f", "a\x00", "x" * (MAX_LENGTH + 1), None, 7, b"item"],
)
def test_what_is_no_name_is_told_so(name: object) -> None:
    remedy = (
        r'no space at either end\. Build names .* pagegen\.namespace\("item:\{id\}", id=value\)$'
    )
    with pytest.raises(NamespaceError, match=f"is no namespace: 1 to 512 .*{remedy}"):
        check(name)
    assert not is_name(name)


@pytest.mark.parametrize("name", ["pagegen:", "pagegen:hard:item:7", "pagegen:sequence"])
def test_names_that_pagegen_keeps_for_itself_are_none(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(NamespaceError, match="begins with 'pagegen:', which pagegen keeps"):
        check(name)
    assert is_name(f"x{name}")
    assert is_name("pagegen")


def test_a_template_cannot_name_what_pagegen_keeps_for_itself() -> None:
    with pytest.raises(NamespaceError, match="pagegen keeps"):
        parse("pagegen:{id}")
    assert not is_name(parse("{kind}:{id}").render({"kind": "pagegen", "id": "hard"}))


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        ("a-b._~9", "a-b._~9"),
        ("7/admin", "7%2Fadmin"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("%2F", "%252F"),
        ("{x}", "%7Bx%7D"),
        ("", ""),
        (42, "42"),
        (-1, "-1"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_values_are_escaped_down_to_unreserved_characters(value: object, expect: str) -> None:
    assert escape(value) == expect


@pytest.mark.parametrize("value", [True, False, None])
def test_truth_values_and_none_are_no_values(value: object) -> None:
    with pytest.raises(NamespaceError, match="Give text or a number"):
        escape(value)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_escaping_is_injective_and_holds_unreserved_characters_only(a: str, b: str) -> None:
    assert set(escape(a)) <= UNRESERVED
    assert (escape(a) == escape(b)) == (a == b)


def test_a_namespace_is_built_as_rules_build_it() -> None:
    built = namespace("user:{user}/list:{name}", user=42, name="a/b")
    rendered = parse("user:{user}/list:{name}").render({"user": "42", "name": "a/b"})
    assert built == rendered == "user:42/list:a%2Fb"


def test_a_missing_value_names_the_call_to_make() -> None:
    with pytest.raises(NamespaceError, match=r"which was not given. Call namespace\(.*id=\.\.\."):
        namespace("item:{id}")


def test_a_value_that_makes_the_name_too_long_is_refused() -> None:
    with pytest.raises(NamespaceError, match="is no namespace"):
        namespace("item:{id}", id="é" * 100)


def test_a_template_is_split_at_its_references() -> None:
    assert parse("a:{x}/{y}") == Template("a:{x}/{y}", ("a:", "/", ""), ("x", "y"))
    assert parse("plain") == Template("plain", ("plain",), ())
    longest = "x" * (MAX_LENGTH - 1)
    assert parse(longest + "{x}").render({"x": "1"}) == longest + "1"
    assert parse("a:{x}").render({"x": "\ud800"}) == "a:%ED%A0%80"


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{{a}}", "a}b", "{a}{"])
def test_a_brace_without_its_partner_is_refused(text: str) -> None:
    with pytest.raises(NamespaceError, match="brace without its partner"):
        parse(text)


@pytest.mark.parametrize("text", ["", " a", "é:{x}", "a\n", "x" * (MAX_LENGTH + 1)])
def test_a_template_that_can_name_nothing_is_refused(text: str) -> None:
    with pytest.raises(NamespaceError, match="is no namespace"):
        parse(text)


PAIRS = st.tuples(VALUES, VALUES)


@pytest.mark.parametrize("text", TEMPLATES)
def test_no_pair_of_steering_values_renders_like_another(text: str) -> None:
    template = parse(text)
    pairs = list(itertools.product(sorted(STEERING), repeat=2))
    assert len({template.render({"a": a, "b": b}) for a, b in pairs}) == len(pairs)


def test_no_steering_value_reaches_another_template() -> None:
    texts = ("user:{x}", "user:{x}/favorites", "user:{x}/orders", "user:{x}/item:{x}", "{x}")
    rendered = [parse(text).render({"x": x}) for text in texts for x in STEERING]
    assert len(set(rendered)) == len(rendered)


@pytest.mark.parametrize("text", TEMPLATES)
@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_different_values_never_render_to_one_namespace(
    text: str, one: tuple[str, str], two: tuple[str, str]
) -> None:
    template = parse(text)
    assume(one != two)
    assert template.render(dict(zip("ab", one, strict=True))) != template.render(
        dict(zip("ab", two, strict=True))
    )


@settings(deadline=None)
@given(VALUES, VALUES, VALUES)
def test_no_value_reaches_the_namespace_of_another_template(x: str, y: str, z: str) -> None:
    rendered = {
        parse("user:{x}").render({"x": x}),
        parse("user:{y}/favorites").render({"y": y}),
        parse("user:{z}/orders").render({"z": z}),
        "users",
        "user:",
    }
    assert len(rendered) == (5 if x else 4)  # an empty value leaves only the literal


@settings(deadline=None)
@given(VALUES, st.sampled_from(["item:{x}", "{x}", "{x}/list", "a {x}"]))
def test_what_a_rule_renders_from_a_value_can_be_invalidated_by_name(x: str, text: str) -> None:
    # An empty value may leave what is no name; plans refuse that (Reason.NAMESPACE).
    rendered = parse(text).render({"x": x})
    if x and len(rendered) <= MAX_LENGTH:
        assert check(rendered) == rendered


def test_a_literal_space_between_references_is_accepted_wherever_they_stand() -> None:
    assert parse("{x} of {y}").literals == ("", " of ", "")


def test_values_separated_by_unreserved_text_may_share_a_namespace() -> None:
    # Known and harmless for correctness: one more page is forgotten than was asked for. Templates
    # should separate references by ":" or "/", which no escaped value can hold.
    template = parse("{a}-{b}")
    assert template.render({"a": "1-2", "b": "3"}) == template.render({"a": "1", "b": "2-3"})
