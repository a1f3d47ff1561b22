"""Declared sources of an identity, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen.errors import ConfigError
from pagegen.identities import SOURCE_REMEDY, Identity, Source, parse_source

COOKIE = parse_source("cookie:session")


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("scope:user", Source("scope", "user")),
        ("scope:user.id", Source("scope", "user", ("id",))),
        ("scope:state.user.id", Source("scope", "state", ("user", "id"))),
        ("environ:REMOTE_USER", Source("environ", "REMOTE_USER")),
        ("environ:beaker.session.user", Source("environ", "beaker", ("session", "user"))),
        ("cookie:session", Source("cookie", "session")),
        ("cookie:__Host-id", Source("cookie", "__Host-id")),
        ("header:X-User", Source("header", "x-user")),
        ("header:authorization", Source("header", "authorization")),
        ("call:shop.auth:user_id", Source("call", "shop.auth", ("user_id",))),
        ("call:shop.auth:User.id", Source("call", "shop.auth", ("User", "id"))),
    ],
)
def test_a_source_is_a_kind_and_a_place(text: str, expect: Source) -> None:
    assert parse_source(text) == expect


@pytest.mark.parametrize(
    "text",
    [
        *("", "cookie", "cookie:", "cookie:a b", "cookie:a;b", "header:", "header:a b"),
        *("header:cookie", "header:Host", "scope:", "scope:user..id", "scope:.user", "scope:user."),
        *("environ:", "environ:A B", "call:", "call:module", "call:module:", "call::function"),
        *("session:x", "Cookie:x", " cookie:x", None, 7, b"cookie:x", ["cookie:x"]),
    ],
)
def test_what_is_no_source_is_told_so(text: object) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text)
    assert caught.value.problem == f"{text!r} is no source of an identity"
    call = isinstance(text, str) and text.startswith("call:")
    assert ("a colon between them" if call else SOURCE_REMEDY) in caught.value.remedy


@settings(deadline=None)
@given(
    st.sampled_from(["scope", "environ", "cookie", "header", "call"]),
    st.one_of(st.text(), st.text("ab.:-", max_size=8)),
)
def test_a_source_written_out_is_the_same_source(kind: str, rest: str) -> None:
    try:
        source = parse_source(f"{kind}:{rest}")
    except ConfigError:
        return
    assert parse_source(str(source)) == source


def test_sources_keep_their_order_and_may_be_built_already() -> None:
    given_sources: Any = ["scope:user.id", COOKIE]
    identity = Identity(name="user", sources=given_sources, reveal=("cookie:theme",))  # type: ignore[arg-type]
    assert identity.sources == (parse_source("scope:user.id"), COOKIE)
    assert identity.reveal == (parse_source("cookie:theme"),)
    assert identity.anonymous == "share"


@pytest.mark.parametrize(
    ("values", "field", "problem", "remedy"),
    [
        ({"name": "a b"}, None, "'a b' is no name of an identity", "letters, digits"),
        ({"name": ""}, None, "'' is no name of an identity", "letters, digits"),
        ({"sources": ()}, "from", "an identity without a source", SOURCE_REMEDY),
        ({"sources": "cookie:a"}, "from", "'cookie:a' is no list of sources", "Write a list"),
        ({"sources": 7}, "from", "7 is no list of sources", "Write a list"),
        ({"sources": ["x"]}, "from", "'x' is no source", SOURCE_REMEDY),
        ({"sources": [7]}, "from", "7 is no source", SOURCE_REMEDY),
        ({"reveal": "cookie:a"}, "reveal", "is no list of sources", "Write a list"),
        ({"reveal": ["x"]}, "reveal", "'x' is no source", SOURCE_REMEDY),
        ({"reveal": ["call:a:b"]}, "reveal", "a function cannot be revealed", "Name the cookie"),
        (
            {"anonymous": "no"},
            "anonymous",
            "'no' is no way",
            'Choose "share", "reveal" or "bypass"',
        ),
        ({"anonymous": []}, "anonymous", "[] is no way", 'Choose "share", "reveal" or "bypass"'),
    ],
)
def test_a_wrong_identity_names_field_problem_and_remedy(
    values: dict[str, Any], field: str | None, problem: str, remedy: str
) -> None:
    given_values: dict[str, Any] = {"name": "user", "sources": (COOKIE,), **values}
    with pytest.raises(ConfigError) as caught:
        Identity(**given_values)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
