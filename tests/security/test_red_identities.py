"""Who asks is told by exact values, an identity shows no more than it names, and what passes
unkeyed by default is what its grammar allows.
"""

from __future__ import annotations

import enum
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, Final
from uuid import UUID

import pytest

from pagegen import Identity, Rule, parse_source
from pagegen.identification import MAX_LENGTH, reveal
from pagegen.testing import Answer, Scenario, Seen, call_asgi, call_wsgi, environ, scope
from tests.conftest import MakeScenario

MINE: Final = Rule(path="/mine", share=["user"], ttl="1h", namespaces=["user:{user}"])
PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Caseless(str):
    """Text that finds its capitals alike."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(str.lower(self))

    def __eq__(self, other: object) -> bool:
        return str.lower(self) == str(other).lower()

    def __str__(self) -> str:
        return "somebody"

    def __len__(self) -> int:
        return 0


class Alike(int):
    """A number that finds itself in everything."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return True

    def __str__(self) -> str:
        return "somebody"


class Misread(bytes):
    """Bytes that read as another's."""

    def decode(self, *args: Any, **kwargs: Any) -> str:
        return "somebody"


class Disguised(UUID):
    """A UUID that says another's name."""

    def __str__(self) -> str:
        return "somebody"


class Claims:
    """What says of itself that it is text, as lazy objects do."""

    __class__ = str  # type: ignore[assignment]


class Place(enum.Enum):
    """Members that name themselves."""

    def __str__(self) -> str:
        return f"place {self.name}"


class Numbered(int, Place):
    """Members that are numbers."""

    FIRST = 1


class Named(str, Place):
    """Members that are text."""

    FIRST = "ada"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that can be imported, whose ``user`` a test says."""
    module = ModuleType("red_answers")
    monkeypatch.setitem(sys.modules, "red_answers", module)
    module.user = lambda context: module.says  # type: ignore[attr-defined]
    return module


def by_call(scenario: MakeScenario, rule: Rule = MINE, **options: Any) -> Scenario:
    who = Identity(name="user", sources=(parse_source("call:red_answers:user"),), **options)
    stage = scenario(rule, identities=[who])
    stage.handler = lambda seen: repr(seen.context.get("pagegen.identities"))
    return stage


def ask(stage: Scenario, **left: Any) -> Answer:
    """The answer to a request in which outer middleware has left something."""
    if stage.front == "wsgi":
        return call_wsgi(stage.wsgi, {**environ("GET", "/mine"), **left})
    assert stage._loop is not None
    return stage._loop.run(call_asgi(stage.asgi, {**scope("GET", "/mine"), **left}))


# Exact values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (Caseless("Ada"), "Ada"),
        (Caseless("ada"), "ada"),
        (Alike(5), 5),
        (Alike(0), 0),
        (Misread(b"ada"), "ada"),
        (Disguised(int=5), str(UUID(int=5))),
        (Numbered.FIRST, 1),
        (Named.FIRST, "ada"),
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}",
)
def test_who_asks_is_the_exact_value_whatever_its_class_says(
    scenario: MakeScenario, answers: ModuleType, said: object, value: str | int
) -> None:
    stage = by_call(scenario)
    seen: list[Seen] = []

    def handler(request: Seen) -> str:
        seen.append(request)
        return "x"

    stage.handler = handler
    answers.says = said  # type: ignore[attr-defined]
    assert stage.get("/mine").trace == "uri-miss, stored"
    shown = seen[0].context["pagegen.identities"]["user"]
    assert type(shown) is type(value)
    assert shown == value
    # The same page as the plain value's, in its namespace too.
    answers.says = value  # type: ignore[attr-defined]
    assert stage.get("/mine").trace == "hit"
    stage.cache.invalidate(f"user:{value}")
    assert stage.get("/mine").trace == "stale, stored"


def test_values_that_call_themselves_equal_share_no_page(
    scenario: MakeScenario, answers: ModuleType
) -> None:
    stage = by_call(scenario)
    texts = []
    for said in (None, Alike(5), Alike(6), Caseless("Ada"), Caseless("ada")):
        answers.says = said  # type: ignore[attr-defined]
        answer = stage.get("/mine")
        assert answer.trace == "uri-miss, stored"
        texts.append(answer.text)
    assert len(set(texts)) == 5


@pytest.mark.parametrize("nothing", [None, "", b"", Misread(b""), Caseless("")], ids=repr)
@pytest.mark.parametrize("anonymous", ["share", "bypass"])
def test_an_empty_answer_is_nobody_in_each_type(
    scenario: MakeScenario, answers: ModuleType, nothing: object, anonymous: str
) -> None:
    stage = by_call(scenario, anonymous=anonymous)
    answers.says = nothing  # type: ignore[attr-defined]
    if anonymous == "bypass":
        assert stage.get("/mine").trace == "bypass: identity"
    else:
        assert stage.get("/mine").text == "{'user': None}"


@pytest.mark.parametrize("empty", [None, "", b""], ids=repr)
def test_an_empty_object_holds_nobody_in_each_type(
    scenario: MakeScenario, empty: str | bytes | None
) -> None:
    source = parse_source("scope:who.name")
    stage = scenario(MINE, identities=[Identity(name="user", sources=(source,))])
    assert ask(stage, who=empty).trace == "uri-miss, stored"
    assert ask(stage).trace == "hit"
    # What calls itself equal to nothing is something.
    assert ask(stage, who=Alike(7)).trace == "bypass: identity"


@pytest.mark.parametrize(
    "said",
    [Claims(), 10**MAX_LENGTH, 10 ** (2 * MAX_LENGTH), Caseless("x" * (MAX_LENGTH + 1))],
    ids=["a proxy", "a long number", "a number too long to write", "a long text"],
)
def test_what_names_nobody_for_sure_is_a_bypass_that_says_identity(
    scenario: MakeScenario, answers: ModuleType, said: object
) -> None:
    stage = by_call(scenario, Rule(path="/mine", share=["user"], ttl="1h"))
    answers.says = said  # type: ignore[attr-defined]
    assert stage.get("/mine").trace == "bypass: identity"
    answers.says = 10**MAX_LENGTH - 1  # type: ignore[attr-defined]
    assert stage.get("/mine").trace == "uri-miss, stored"


# Identities that show no more than they name ------------------------------------------------------


def test_an_identity_deep_in_mappings_shows_its_own_member_alone(scenario: MakeScenario) -> None:
    source = parse_source("scope:session.org.of.id")
    stage = scenario(MINE, identities=[Identity(name="user", sources=(source,))])
    stage.handler = lambda seen: repr(seen.context["session"])

    def session(name: str) -> dict[str, Any]:
        return {"org": {"of": {"id": 1, "name": name}, "role": name}, "user": name}

    first = ask(stage, session=session("ada"))
    assert (first.trace, first.text) == ("uri-miss, stored", "{'org': {'of': {'id': 1}}}")
    assert ask(stage, session=session("bob")).trace == "hit"


def test_members_of_members_are_revealed_side_by_side_and_what_is_named_whole_stays_whole() -> None:
    org = {"id": 1, "plan": "free", "secret": 2}
    context: dict[str, Any] = {"session": {"org": org, "user": "ada", "theme.kind": {"a": 1}}}
    seen: dict[str, Any] = {}
    for path in ("session.org.id", "session.org.plan", "session.theme.kind.a", "session.org.no"):
        reveal(context, seen, tuple(path.split(".")))
    assert seen == {"session": {"org": {"id": 1, "plan": "free"}, "theme.kind": {"a": 1}}}
    reveal(context, seen, ("session", "org"))
    reveal(context, seen, ("session", "org", "id"))
    assert seen["session"]["org"] == org
    # Nothing of the application's was written to.
    assert org == {"id": 1, "plan": "free", "secret": 2}


@pytest.mark.parametrize(
    "kept", [object(), 7, None, {"kind": "guest"}], ids=["object", "number", "none", "mapping"]
)
def test_what_the_application_keeps_at_the_same_place_is_not_written_to(kept: object) -> None:
    state = {"user": kept}
    seen: dict[str, Any] = {"state": state}
    reveal({"state": {"user": {"id": 1, "name": "ada"}}}, seen, ("state", "user", "id"))
    also = kept if isinstance(kept, dict) else {}
    assert seen == {"state": {"user": {**also, "id": 1}}}
    assert state == {"user": kept}
    assert kept != {"kind": "guest", "id": 1}


def test_of_an_object_the_whole_is_seen_as_the_docs_say(scenario: MakeScenario) -> None:
    source = parse_source("scope:user.org_id")
    stage = scenario(MINE, identities=[Identity(name="user", sources=(source,))])
    stage.handler = lambda seen: str(seen.context["user"].name)
    assert ask(stage, user=SimpleNamespace(org_id=1, name="ada")).text == "ada"


# What passes unkeyed ------------------------------------------------------------------------------


def printed(scenario: MakeScenario, *names: str, **options: Any) -> Any:
    """What a handler that prints these fields makes of a request's, each on a page of its own."""
    stage = scenario(Rule(path="/{n:int}", share="public", ttl="1h"), **options)
    stage.handler = lambda seen: repr([seen.fields.get(name) for name in names])
    pages = iter(range(1000))
    return lambda **fields: stage.get(f"/{next(pages)}", fields).text


@pytest.mark.parametrize(
    "value",
    [
        PARENT,
        PARENT.replace("-01", "-ff"),
        # Of a version to come, as long as it is of today's form.
        "cc" + PARENT[2:],
    ],
)
def test_the_name_of_a_trace_passes(scenario: MakeScenario, value: str) -> None:
    assert printed(scenario, "traceparent")(traceparent=value) == repr([value])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2",
        "'><script>evil()</script>",
        PARENT.upper(),
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        PARENT[:-1],
        f"{PARENT}-<script>",
        f"{PARENT}, {PARENT}",
        f"{PARENT} ",
        f"{PARENT}\n",
        PARENT.replace("b7", "\xb2\xb3"),
    ],
)
def test_what_names_no_trace_is_hidden(scenario: MakeScenario, value: str) -> None:
    assert printed(scenario, "traceparent")(traceparent=value) == "[None]"


@pytest.mark.parametrize(
    "value",
    [
        "congo=t61rcWkgMzE",
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "rojo=1 ,\t congo=2,,  , ",
        "",
        "dd=s:2;o:rum;t.dm:-4;t.usr.id:baz64~~",
        "190@nr=0-0-33-2827902-7d3efb1b173fecfa-e8b91a159289ff74-1-1.23456-1518469636035",
        "3ce929d0-0e0e4736@dt=fw4;5;d/r+x*y_z",
        "ot=p:8;r:62",
        ",".join(f"k{n}=v" for n in range(32)),
        f"{'k' * 256}={'v' * 256}",
    ],
)
def test_the_state_of_a_trace_passes(scenario: MakeScenario, value: str) -> None:
    assert printed(scenario, "tracestate")(tracestate=value) == repr([value])


@pytest.mark.parametrize(
    "value",
    [
        "evil",
        "=v",
        "k=",
        "K=v",
        "k =v",
        "k=v=w",
        "k=v;\x01",
        "k=v\n",
        "k=\xe9",
        "k=a b",
        ",".join(f"k{n}=v" for n in range(33)),
        f"{'k' * 257}=v",
        f"k={'v' * 257}",
        # The grammar allows these in a value; no vendor needs them, and markup does.
        *(f"k=a{mark}b" for mark in "<>\"'&`\\(){}$"),
    ],
)
def test_what_is_no_state_of_a_trace_is_hidden(scenario: MakeScenario, value: str) -> None:
    assert printed(scenario, "tracestate")(tracestate=value) == "[None]"


def test_a_long_state_that_is_none_is_read_once(scenario: MakeScenario) -> None:
    see = printed(scenario, "tracestate")
    # What a backtracking pattern would never get to the end of.
    assert see(tracestate=", \t " * 12_000 + "<") == "[None]"
    assert see(tracestate="k=" + "v" * 50_000 + "<") == "[None]"


def test_a_page_that_prints_its_trace_holds_no_strangers_markup(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/", share="public", ttl="1h"))
    stage.handler = lambda seen: f"{seen.fields.get('traceparent')} {seen.fields.get('tracestate')}"
    evil = {"traceparent": "'><script>evil()</script>", "tracestate": "k=<script>evil()</script>"}
    assert stage.get("/", evil).text == "None None"
    assert stage.get("/").trace == "hit"


def test_a_field_that_is_keyed_or_shown_by_an_identity_is_read_as_it_came(
    scenario: MakeScenario,
) -> None:
    who = Identity(name="user", sources=(parse_source("header:traceparent"),))
    keyed = Rule(path="/keyed", share="public", ttl="1h", headers={"tracestate": {}})
    stage = scenario(MINE, keyed, identities=[who])
    stage.handler = lambda seen: f"{seen.fields.get('traceparent')} {seen.fields.get('tracestate')}"
    assert stage.get("/mine", {"traceparent": "me"}).text == "me None"
    assert stage.get("/mine").text == "None None"
    assert stage.get("/keyed", {"tracestate": "me"}).text == "None me"
    assert stage.get("/keyed").text == "None None"


def test_where_passthrough_names_them_they_pass_by_their_grammar_too(
    scenario: MakeScenario,
) -> None:
    see = printed(scenario, "traceparent", "x-id", passthrough=["traceparent", "x-id"])
    assert see(**{"traceparent": "evil", "x-id": "any"}) == "[None, 'any']"
    assert see(traceparent=PARENT) == repr([PARENT, None])
