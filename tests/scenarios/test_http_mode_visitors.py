"""Mode http keeps visitors apart, lets doubts pass, and is the same on both fronts."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise

import pytest

from pagegen.steering import PERSONAL
from pagegen.testing import Answer, Front, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_http_mode import OPEN, reply

# --- Whose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["authorization", "cookie"])
@pytest.mark.parametrize(
    "control", ["max-age=60", "max-age=60, must-revalidate=1", "max-age=60, public=x"]
)
def test_what_a_visitor_could_be_known_by_keeps_the_page_from_others(
    scenario: MakeScenario, field: str, control: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(f"for {seen.fields.get(field)}", cache_control=control)
    for who in ("ada", "bob", "ada"):
        answer = stage.get("/a", {field: who})
        assert (answer.text, answer.trace) == (f"for {who}", f"refused-{field}")
    assert stage.get("/a").trace == "uri-miss, stored"


@pytest.mark.parametrize(
    ("field", "control"),
    [
        ("authorization", "max-age=60, public"),
        ("authorization", "s-maxage=60"),
        ("authorization", "max-age=60, must-revalidate"),
        ("cookie", "max-age=60, public"),
        ("cookie", "s-maxage=60"),
    ],
)
def test_a_response_may_say_that_it_is_everybodys(
    scenario: MakeScenario, field: str, control: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control=control)
    assert stage.get("/a", {field: "ada"}).trace == "uri-miss, stored"
    assert stage.get("/a", {field: "bob"}).trace == stage.get("/a").trace == "hit"


def test_a_page_that_varies_by_cookie_is_stored_for_each(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    fields = {"cache_control": "max-age=60", "vary": "Cookie"}
    stage.handler = lambda seen: reply(f"for {seen.fields.get('cookie')}", **fields)
    people: list[dict[str, str]] = [{"cookie": "u=ada"}, {"cookie": "u=bob"}, {}]
    for who in people * 2:
        assert stage.get("/a", who).text == f"for {who.get('cookie')}"
    assert stage.renders == 3


def test_a_cookie_that_is_set_reaches_its_visitor_alone(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    fields = {"cache_control": "max-age=60, public"}
    stage.handler = lambda seen: reply(set_cookie=f"s={stage.renders}", **fields)
    assert [stage.get("/a").get("set-cookie") for _ in range(2)] == ["s=1", "s=2"]


def test_a_withheld_field_reaches_the_first_client_alone(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control='max-age=60, private="x-you"', x_you="ada")
    assert [stage.get("/a").get("x-you") for _ in range(2)] == ["ada", None]
    assert stage.renders == 1


@pytest.mark.parametrize(
    ("target", "fields", "why"),
    [
        ("/a", {"content-length": "3"}, "body"),
        ("/a", {"transfer-encoding": "chunked"}, "body"),
        ("/a", {"upgrade": "websocket"}, "upgrade"),
        ("/a//b", {}, "path"),
        ("/a/../b", {}, "path"),
        ("/a%2Fb", {}, "path"),
        ("/a;b", {}, "path"),
        ("/a?\xe9", {}, "query"),
        ("/a", {"host": "evil@example"}, "host"),
    ],
)
def test_a_doubt_is_a_bypass(
    scenario: MakeScenario, target: str, fields: dict[str, str], why: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control="max-age=60")
    for _ in range(2):
        assert stage.request("GET", target, fields, b"x=1"[: 3 if why == "body" else 0]).trace == (
            f"bypass: {why}"
        )
    assert stage.renders == 2


# --- Both fronts --------------------------------------------------------------------------------

STEPS: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/max-age=60", {}),
    ("GET", "/max-age=60", {}),
    ("HEAD", "/max-age=60", {}),
    ("GET", "/max-age=60", {"if-none-match": '"1"'}),
    ("GET", "/max-age=60", {"range": "bytes=0-1"}),
    ("GET", "/max-age=60", {"cache-control": "no-cache"}),
    ("GET", "/max-age=60", {"accept-language": "fr"}),
    ("GET", "/no-store", {}),
    ("GET", "/private", {"cookie": "a=b"}),
    ("GET", "/max-age=0", {}),
    ("GET", "/max-age=0", {}),
    ("GET", "/max-age=1?q", {"cache-control": "only-if-cached"}),
    ("POST", "/max-age=60", {}),
    ("GET", "/max-age=60", {}),
    ("HEAD", "/nothing-there", {}),
]


def test_both_fronts_say_the_same() -> None:
    """Status, fields and body of a whole session are equal, but for the case of names."""
    fronts: list[Front] = ["wsgi", "asgi"]
    with ExitStack() as stack:
        sessions = [
            session(stack.enter_context(Scenario(front, [OPEN], date="send"))) for front in fronts
        ]
    for one, other in pairwise(sessions):
        assert one == other


def session(stage: Scenario) -> list[tuple[int, list[tuple[str, str]], bytes]]:
    def handler(seen: Seen) -> Reply:
        fields = {"cache_control": seen.path[1:], "etag": '"1"', "vary": "Accept-Language"}
        if seen.fields.get("if-none-match") == '"1"':
            return reply("", 304, **fields)
        return reply("" if seen.method == "HEAD" else f"page {stage.renders}", **fields)

    stage.handler = handler
    return [plain(stage.request(*step)) for step in STEPS]


def plain(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    return answer.status, [(name.lower(), value) for name, value in answer.fields], answer.body


@pytest.mark.parametrize("name", sorted(PERSONAL))
def test_a_page_made_for_somebody_that_a_proxy_names_reaches_nobody_else(
    scenario: MakeScenario, name: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(
        f"for {seen.fields.get(name)}", cache_control="max-age=60", vary="X-Other"
    )
    first = stage.get("/a", {name: "ada"})
    assert first.trace in ("refused-personal", "uri-miss, stored")
    assert "ada" not in stage.get("/a").text
    assert "ada" not in stage.get("/a", {name: "bob"}).text


def test_a_page_for_somebody_is_stored_where_the_response_says_how(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(
        f"for {seen.fields.get('remote-user')}", cache_control="max-age=60", vary="Remote-User"
    )
    assert stage.get("/a", {"remote-user": "ada"}).trace == "uri-miss, stored"
    assert stage.get("/a", {"remote-user": "ada"}).trace == "hit"
    assert stage.get("/a", {"remote-user": "bob"}).text == "for bob"
    stage.handler = lambda seen: reply("for all", cache_control="public, max-age=60")
    assert stage.get("/b", {"remote-user": "ada"}).trace == "uri-miss, stored"
    assert stage.get("/b").trace == "hit"
