"""The handler of a cacheable request sees what its page is keyed by, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagegen import Identity, Invalidates, Rule, parse_source
from pagegen.testing import Front, Reply, Scenario, Seen, environ, scope
from tests.conftest import MakeScenario

PAGE = Rule(
    path="/page/{id}",
    share="public",
    namespaces=["page:{id}"],
    ttl="1h",
    query={"q": {"default": ""}},
    other_query="drop",
    headers={"accept-language": {"values": ["en", "de"], "default": "en"}},
    cookies={"theme": {"values": ["dark", "light"], "default": "light"}},
)

#: Inputs that a page must not see unless its rule says so: the attacker's whole alphabet.
HIDDEN = [
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded",
    "x-original-url", "x-rewrite-url", "x-http-method-override", "user-agent", "referer", "origin",
    "range", "if-none-match", "if-modified-since", "accept", "accept-encoding", "x-real-ip",
    "x-custom", "content-type", "te", "upgrade", "expect", "via", "cache-control", "pragma",
]  # fmt: skip

token = st.text("abcXYZ019-_./:", max_size=12)
headers = st.dictionaries(st.sampled_from(HIDDEN), token, max_size=8)


def fingerprint(seen: Seen) -> Any:
    """All that a handler can read of its request, but for streams and the server's own things."""
    ignored = {"wsgi.input", "wsgi.errors", "asgi", "extensions"}
    context = {key: repr(value) for key, value in seen.context.items() if key not in ignored}
    return seen.method, seen.path, seen.query, dict(seen.fields), seen.body, context


def record(stage: Scenario) -> list[Any]:
    seen_by_handler: list[Any] = []

    def handler(seen: Seen) -> Reply:
        seen_by_handler.append(fingerprint(seen))
        return Reply(b"x", fields=[("Cache-Control", "private")])  # so that it always runs

    stage.handler = handler
    return seen_by_handler


@pytest.mark.parametrize("front", ["wsgi", "asgi"])
@given(one=headers, two=headers, noise=token, cookie=token)
@example(one=dict.fromkeys(HIDDEN, "1"), two={}, noise="&admin=1", cookie="evil")
def test_what_is_not_keyed_does_not_reach_the_handler(
    front: Front, one: dict[str, str], two: dict[str, str], noise: str, cookie: str
) -> None:
    with Scenario(front, [PAGE]) as stage:
        seen = record(stage)
        stage.get("/page/1?q=a", {**one, "accept-language": "de", "cookie": "theme=dark"})
        stage.get(
            f"/page/1?z={noise}&q=a",
            {**two, "accept-language": "de-AT,en;q=0.1", "cookie": f"x={cookie}; theme=dark"},
        )
        assert len(seen) == 2
        assert seen[0] == seen[1]


def test_keyed_inputs_arrive_in_their_canonical_form(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    seen = record(stage)
    stage.get("/page/1?q=%61+b", {"accept-language": "de-AT", "cookie": "theme=dark; id=7"})
    _, path, query, fields, body, context = seen[0]
    assert (path, query, body) == ("/page/1", "q=a%20b", b"")
    assert fields == {"host": "testserver", "accept-language": "de", "cookie": "theme=dark"}
    client = context.get("REMOTE_ADDR") or context.get("client")
    assert "0.0.0.0" in client
    raw = context.get("RAW_URI")
    assert raw in (None, "'/page/1?q=a%20b'")


def test_values_outside_their_set_take_the_default_or_bypass(scenario: MakeScenario) -> None:
    rule = Rule(
        path="/p", share="public", ttl=60, headers={"x-kind": {"values": ["a"]}}, cookies={"c": {}}
    )
    stage = scenario(rule)
    assert stage.get("/p", {"x-kind": "a"}).trace == "uri-miss, stored"
    assert stage.get("/p").trace == "uri-miss, stored"  # absent is another page
    assert stage.get("/p", {"x-kind": "b"}).trace == "bypass: header"
    assert stage.get("/p", {"cookie": "c="}).trace == "uri-miss, stored"  # empty is another page
    assert stage.get("/p", {"cookie": "c=1; c=2"}).trace == "bypass: cookie"


@pytest.mark.parametrize("rule", [PAGE, Rule(path="/page/{id}", share="public", ttl=60)])
def test_a_body_on_get_and_credentials_are_a_bypass(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    stage.handler = lambda seen: seen.body + seen.fields.get("authorization", "-").encode()
    assert stage.request("GET", "/page/1", body=b"fat").text == "fat-"
    assert stage.get("/page/1", {"authorization": "Basic eA=="}).text == "Basic eA=="
    assert stage.get("/page/1", {"transfer-encoding": "chunked"}).trace == "bypass: body"
    assert stage.get("/page/1").trace == "uri-miss, stored"


@pytest.mark.parametrize(
    "host", ["", "a/b", "user@host", "two, hosts", "host:port", "a b", "[::1", "x" * 300]
)
def test_a_host_that_is_none_is_a_bypass(scenario: MakeScenario, host: str) -> None:
    assert scenario(PAGE).get("/page/1", {"host": host}).trace == "bypass: host"


def test_hosts_differ_and_their_case_does_not(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    traces = [stage.get("/page/1", {"host": host}).trace for host in ("a", "A", "b", "a:80")]
    assert traces == ["uri-miss, stored", "hit", "uri-miss, stored", "uri-miss, stored"]


def test_schemes_and_spellings_of_a_path_are_pages_apart(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/{name}", share="public", ttl=60))
    for target in ("/caf%C3%A9", "/caf%c3%a9", "/cafe%CC%81"):
        assert stage.get(target).trace == "uri-miss, stored"
    for target in ("/caf%C3%A9", "/caf%c3%a9", "/cafe%CC%81"):
        assert stage.get(target).trace == "hit"
    if stage.front == "wsgi":
        made: Any = environ("GET", "/caf%C3%A9") | {"wsgi.url_scheme": "https"}
    else:
        made = {**scope("GET", "/caf%C3%A9"), "scheme": "https"}
    assert _call(stage, made).trace == "uri-miss, stored"


def test_values_cannot_steer_a_page_into_another_namespace(scenario: MakeScenario) -> None:
    rule = Rule(
        path="/s", share="public", ttl=60, query={"q": {"default": ""}}, namespaces=["q:{q}"]
    )
    stage = scenario(rule)
    found = stage.cache.inspect("/s", "q=a/b:c%20%C3%A9")
    assert found.namespaces[:-1] == ("q:a%2Fb%3Ac%20%C3%A9",)


def test_passthrough_shows_a_header_that_is_not_keyed(scenario: MakeScenario) -> None:
    stage = scenario(
        Rule(path="/p", share="public", ttl=60, passthrough=["x-request-id"]),
        passthrough=["traceparent"],
    )
    stage.handler = lambda seen: repr(sorted(seen.fields))
    fields = {
        "x-request-id": "1",
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        "tracestate": "k=v",
    }
    assert stage.get("/p", fields).text == "['host', 'traceparent', 'x-request-id']"
    assert stage.get("/p", {"x-request-id": "9"}).trace == "hit"


class User:
    def __init__(self, answer: object) -> None:
        self.id = answer


def identity(*sources: str, **options: Any) -> Identity:
    return Identity(name="user", sources=tuple(map(parse_source, sources)), **options)


MINE = Rule(path="/mine", share=["user"], namespaces=["user:{user}"], ttl="1h")


def test_each_visitor_has_pages_of_their_own(scenario: MakeScenario) -> None:
    stage = scenario(MINE, identities=[identity("cookie:session")])
    stage.handler = lambda seen: f"{seen.fields.get('cookie')} {seen.context['pagegen.identities']}"
    ada = stage.get("/mine", {"cookie": "session=ada; tracking=1"})
    assert ada.text == "session=ada {'user': 'ada'}"
    assert stage.get("/mine", {"cookie": "tracking=2; session=ada"}).trace == "hit"
    assert stage.get("/mine", {"cookie": "session=eve"}).text.startswith("session=eve")
    assert stage.get("/mine").text == "None {'user': None}"
    stage.cache.invalidate("user:ada")
    assert stage.get("/mine", {"cookie": "session=ada"}).trace == "stale, stored"
    assert stage.get("/mine", {"cookie": "session=eve"}).trace == "hit"


def test_one_value_from_two_sources_is_two_visitors(scenario: MakeScenario) -> None:
    stage = scenario(MINE, identities=[identity("header:x-user", "cookie:user")])
    stage.get("/mine", {"x-user": "7"})
    assert stage.get("/mine", {"cookie": "user=7"}).trace == "uri-miss, stored"


def test_anonymous_visitors_can_be_sent_to_the_application(scenario: MakeScenario) -> None:
    stage = scenario(MINE, identities=[identity("cookie:session", anonymous="bypass")])
    assert stage.get("/mine").trace == "bypass: identity"
    assert stage.get("/mine", {"cookie": "session=a; session=b"}).trace == "bypass: identity"


@pytest.mark.parametrize(
    "value", [True, 1.5, ["a"], object()], ids=lambda value: type(value).__name__
)
def test_an_answer_that_identifies_nobody_is_a_bypass(
    scenario: MakeScenario, value: object
) -> None:
    stage = scenario(MINE, identities=[identity("scope:user.id", "environ:user.id")])
    made = environ("GET", "/mine") if stage.front == "wsgi" else scope("GET", "/mine")
    made["user"] = User(value)
    assert "detail=identity" in (_call(stage, made).get("cache-status") or "")


def test_dotted_paths_reach_into_what_a_middleware_left(scenario: MakeScenario) -> None:
    stage = scenario(MINE, identities=[identity("scope:user.id", "environ:user.id")])
    stage.handler = lambda seen: f"{seen.context['user'].id} {seen.context.get('session')}"
    made = environ("GET", "/mine") if stage.front == "wsgi" else scope("GET", "/mine")
    made.update(user=User(42), session={"cart": 3})
    assert _call(stage, made).text == "42 None"


def _call(stage: Scenario, made: Any) -> Any:
    from pagegen.testing import call_asgi, call_wsgi

    if stage.front == "wsgi":
        return call_wsgi(stage.wsgi, made)
    assert stage._loop is not None
    return stage._loop.run(call_asgi(stage.asgi, made))


def nobody(context: Any) -> None:
    """An identity function that knows nobody."""


def test_what_an_identity_reveals_is_not_shown_of_visitors_whom_nobody_knows(
    scenario: MakeScenario,
) -> None:
    who = Identity(
        name="user",
        sources=(parse_source(f"call:{__name__}:nobody"),),
        reveal=(parse_source("cookie:session"),),
    )
    stage = scenario(MINE, identities=[who])
    stage.handler = lambda seen: repr(seen.fields.get("cookie"))
    assert stage.get("/mine", {"cookie": "session=a basket of my own"}).text == "None"


def test_a_write_is_matched_as_lenient_routers_read_its_path(scenario: MakeScenario) -> None:
    write = Invalidates(path="/page/{id}", namespaces=["page:{id}"])
    for target in ("//page/1", "/page//1", "/page/1/"):
        stage = scenario(PAGE, invalidates=[write])
        stage.get("/page/1")
        stage.post(target)
        assert stage.get("/page/1").trace == "stale, stored"
