"""Asking who sends a request: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from pagegen.errors import ConfigError
from pagegen.fields import MAX_COOKIES
from pagegen.identification import MAX_LENGTH, DoubtError, Identified, Identifier, reveal
from pagegen.identities import Identity, parse_source
from pagegen.messages import GivenFields, Request

SEVEN = UUID(int=7)


def asking(context: Mapping[str, Any] | None = None, **fields: str) -> Request:
    named = GivenFields({name.replace("_", "-"): value for name, value in fields.items()})
    return Request("GET", "http", "", "/", None, "", named, context or {})


def identifier(*sources: str, **more: Any) -> Identifier:
    return Identifier(Identity(name="user", sources=tuple(map(parse_source, sources)), **more))


def who(context: Mapping[str, Any], *sources: str, **more: Any) -> Identified:
    return identifier(*sources, **more).ask(asking(context))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that can be imported, with functions that a test puts into it."""
    module = ModuleType("answers")
    monkeypatch.setitem(sys.modules, "answers", module)
    return module


# Functions ------------------------------------------------------------------------------------


def test_a_module_may_build_the_cache_before_it_has_the_function_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "builds_its_cache.py").write_text(
        "from pagegen.identification import Identifier\n"
        "from pagegen.identities import Identity, parse_source\n"
        "source = parse_source('call:builds_its_cache:user')\n"
        "ours = Identifier(Identity(name='user', sources=(source,)))\n"
        "def user(scope):\n"
        "    return 'seven'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import builds_its_cache  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "builds_its_cache")
    assert builds_its_cache.ours.ask(asking()).value == "seven"


def test_a_function_of_a_module_that_is_there_is_looked_for_at_the_start(
    answers: ModuleType,
) -> None:
    with pytest.raises(ConfigError) as caught:
        identifier("call:answers:user")
    assert str(caught.value) == (
        "[identity.user]: from: call:answers:user is no function. Name an importable module and a "
        "function of one argument (the environ or scope)"
    )


def test_a_coroutine_function_is_no_source(answers: ModuleType) -> None:
    async def user(scope: object) -> str:
        return "seven"

    answers.user = user  # type: ignore[attr-defined]
    with pytest.raises(ConfigError) as caught:
        identifier("call:answers:user")
    assert caught.value.problem == (
        "call:answers:user is a coroutine function, which a look-up cannot await"
    )


def test_a_function_is_found_once(answers: ModuleType) -> None:
    answers.user = lambda scope: "first"  # type: ignore[attr-defined]
    ours = identifier("call:answers:user")
    answers.user = lambda scope: "second"  # type: ignore[attr-defined]
    assert ours.ask(asking()).value == "first"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (["a"], "a list identifies nobody: give text or a number"),
        (True, "a bool identifies nobody: give text or a number"),
        ("x" * (MAX_LENGTH + 1), "more than 4096 characters"),
        # Without its text, which may name who asked.
        (OSError("ada\nlovelace"), f"OSError at {__file__}:RAISED"),
    ],
    ids=["a list", "a truth", "a long text", "an error"],
)
def test_a_source_that_fails_is_named_once_with_its_reason(
    answers: ModuleType, caplog: pytest.LogCaptureFixture, answer: object, said: str
) -> None:
    def user(scope: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    said = said.replace("RAISED", str(user.__code__.co_firstlineno + 2))
    answers.user = user  # type: ignore[attr-defined]
    ours = identifier("call:answers:user")
    for _ in range(2):
        with pytest.raises(DoubtError):
            ours.ask(asking())
    assert caplog.record_tuples == [
        (
            "pagegen.identity",
            logging.WARNING,
            f"identity 'user': source call:answers:user failed ({said}); such requests bypass the "
            "cache. This is said once",
        )
    ]


# Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("é".encode(), "é"),
        (SEVEN, str(SEVEN)),
        (7, 7),
        ("x" * MAX_LENGTH, "x" * MAX_LENGTH),
    ],
    ids=["bytes", "uuid", "number", "the longest"],
)
def test_what_names_somebody_is_text_or_a_number(answer: object, value: str | int) -> None:
    found = who({"user": answer}, "scope:user")
    assert (found.value, found.position) == (value, 0)


def test_a_cookie_field_of_the_longest_length_is_read() -> None:
    jar = "session=7; x="
    jar += "y" * (MAX_COOKIES - len(jar))
    ours = identifier("cookie:session")
    assert ours.ask(asking(cookie=jar)).value == "7"
    with pytest.raises(DoubtError):
        ours.ask(asking(cookie=jar + "y"))


def test_a_dotted_path_goes_through_attributes_one_by_one() -> None:
    user = SimpleNamespace(profile=SimpleNamespace(id="seven"))
    assert who({"user": user}, "scope:user.profile.id").value == "seven"


def test_an_attribute_that_is_not_there_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    context = {"user": SimpleNamespace(name="x"), "empty": None}
    found = who(context, "scope:user.id", "scope:empty.id", anonymous="reveal")
    assert (found.value, found.shown) == (None, (parse_source("scope:user.id"),))
    assert not caplog.records


# What is asked, and what is shown ---------------------------------------------------------------


def test_what_an_identity_reveals_is_shown_and_keyed_beside_the_source_that_answered() -> None:
    ours = identifier("header:x-user", "cookie:session", reveal=("header:x-plan",))
    header, cookie, revealed = map(
        parse_source, ("header:x-user", "cookie:session", "header:x-plan")
    )
    first = ours.ask(asking(x_user="7"))
    assert first.shown == (header, revealed)
    assert first.asked == (header, revealed)
    second = ours.ask(asking(cookie="session=7"))
    assert second.shown == (cookie, revealed)
    assert second.asked == (header, cookie, revealed)
    nobody = ours.ask(asking())
    assert nobody.shown == ()
    assert nobody.asked == (header, cookie, revealed)


KINDS = pytest.mark.parametrize("kind", ["scope", "environ"])


@KINDS
@pytest.mark.parametrize("found", [{}, {"user": None}, {"user": ""}])
@pytest.mark.parametrize("anonymous", ["share", "reveal"])
def test_visitors_of_whom_nothing_was_found_share_a_page(
    kind: str, found: dict[str, Any], anonymous: Any
) -> None:
    nobody = who(found, f"{kind}:user.id", "cookie:session", anonymous=anonymous)
    assert (nobody.value, nobody.position, nobody.shown) == (None, None, ())


@KINDS
@pytest.mark.parametrize("key", ["user", "user.of"])
def test_an_object_without_a_name_in_it_is_no_shared_visitor(kind: str, key: str) -> None:
    source, context = f"{kind}:user.of.id", {key: {"theme": "dark"}}
    with pytest.raises(DoubtError):
        who(context, source)
    assert who(context, source, anonymous="reveal").shown == (parse_source(source),)


def test_nobody_bypasses_where_the_identity_says_so() -> None:
    for context in ({}, {"user": {}}):
        with pytest.raises(DoubtError):
            who(context, "scope:user.id", anonymous="bypass")


def test_only_scope_and_environ_hold_objects_that_may_differ() -> None:
    context = {"session": object(), "x-user": object()}
    nobody = who(context, "cookie:session", "header:x-user")
    assert (nobody.value, nobody.shown) == (None, ())


def test_of_two_members_of_one_mapping_both_are_revealed() -> None:
    context = {"state": {"user": 7, "plan": "free", "secret": 1}}
    seen: dict[str, Any] = {}
    reveal(context, seen, ("state", "user"))
    reveal(context, seen, ("state", "plan"))
    assert seen == {"state": {"user": 7, "plan": "free"}}


def test_keys_may_hold_dots_where_they_are_revealed() -> None:
    context = {"beaker.session": {"user": 7, "secret": 1}}
    seen: dict[str, Any] = {}
    reveal(context, seen, ("beaker", "session", "user"))
    assert seen == {"beaker.session": {"user": 7}}


def test_what_is_named_whole_is_revealed_whole() -> None:
    state = {"user": 7, "plan": "free"}
    seen: dict[str, Any] = {}
    reveal({"state": state}, seen, ("state",))
    assert seen == {"state": state}
