"""What caches out there are told, so that one visitor's page is no other's there either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from pagegen import Identity, Rule, parse_source
from pagegen.keys import encode, personal
from pagegen.messages import ResponseHead
from pagegen.testing import Answer, Front, Reply, Scenario

HOUR: Final = {"ttl": "1h"}
RULES: Final = [
    Rule(path="/cookie", share="public", cookies={"session": {}}, **HOUR),
    Rule(path="/header", share="public", headers={"x-tenant": {}}, **HOUR),
    Rule(
        path="/both",
        share="public",
        headers={"x-tenant": {}, "accept-language": {"values": ["en", "de"]}},
        cookies={"session": {}, "theme": {}},
        namespaces=["a"],
        sie="1h",
        **HOUR,
    ),
    Rule(path="/open", share="public", mode="http", headers={"x-tenant": {}}),
    Rule(
        path="/coded", share="public", cookies={"session": {}}, compress=["gzip"], **HOUR
    ),
    Rule(path="/small", share="public", cookies={"session": {}}, max_body=4, **HOUR),
    Rule(path="/person", share=["user"], namespaces=["b"], **HOUR),
    Rule(path="/person-small", share=["user"], max_body=4, **HOUR),
    Rule(path="/nothing", share="public", **HOUR),
]  # fmt: skip
SOURCES: Final = ("header:x-user", "cookie:session", "environ:REMOTE_USER", "scope:user.id")
USER: Final = Identity(name="user", sources=[parse_source(s) for s in SOURCES])
ADA: Final = {"cookie": "session=ada; theme=dark", "x-tenant": "t1", "accept-language": "de"}


def vary(answer: Answer) -> list[str]:
    return [value for name, value in answer.fields if name.lower() == "vary"]


def control(answer: Answer) -> list[str]:
    return [value for name, value in answer.fields if name.lower() == "cache-control"]


def stage_of(front: Front) -> Scenario:
    stage = Scenario(front, RULES, identities=[USER])
    stage.handler = lambda seen: Reply(b"a page of ada's", fields=[("Cache-Control", "max-age=60")])
    return stage


class Downstream:
    """The least that RFC 9111 lets a shared cache do: it keeps what may be kept, and gives it to
    whoever agrees in what its ``Vary`` names (§4.1).
    """

    def __init__(self, stage: Scenario) -> None:
        self._stage = stage
        self._kept: dict[str, list[tuple[dict[str, str | None], Answer]]] = {}

    def get(self, path: str, fields: Mapping[str, str]) -> Answer:
        for selecting, kept in self._kept.get(path, []):
            if all(fields.get(name) == value for name, value in selecting.items()):
                return kept
        answer = self._stage.get(path, fields)
        head = ResponseHead(answer.status, tuple(answer.fields))
        said = {part.strip() for part in (head.get("cache-control") or "").split(",")}
        names = [part.strip().lower() for part in (head.get("vary") or "").split(",")]
        if "max-age=60" in said and not said & {"private", "no-store"} and "*" not in names:
            selecting = {name: fields.get(name) for name in names if name}
            self._kept.setdefault(path, []).append((selecting, answer))
        return answer


@pytest.mark.parametrize("path", [rule.path for rule in RULES if rule.path != "/nothing"])
@pytest.mark.parametrize("word", ["max-age=60", "public, max-age=60"])
@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "streamed"])
def test_a_cache_in_front_gives_a_visitors_page_to_no_other(
    front: Front, path: str, word: str, pieces: bool
) -> None:
    def told(seen: Any) -> Reply:
        body = f"{seen.fields.get('cookie')} {seen.fields.get('x-tenant')}".encode()
        body += f" {seen.fields.get('x-user')}".encode()
        # What the handler of mode http reads besides is its own to say.
        more = [("Vary", "Cookie, X-User")] if path == "/open" else []
        fields = [("Cache-Control", word), ("Content-Type", "text/html"), *more]
        return Reply(iter([body, b"."]) if pieces else body, fields=fields)

    with stage_of(front) as stage, stage_of(front) as alone:
        stage.handler = alone.handler = told
        out_there = Downstream(stage)
        asked = [
            {**more, **tenant, **user}
            for more in ({}, {"cookie": "session=ada"}, {"cookie": "session=bob"})
            for tenant in ({}, {"x-tenant": "t1"}, {"x-tenant": "t2"})
            for user in ({}, {"x-user": "ann"})
        ]
        for fields in asked + asked:
            assert out_there.get(path, fields).text == alone.get(path, fields).text, fields


def test_vary_names_all_that_the_key_has_of_a_request_and_nothing_else(front: Front) -> None:
    expected = {
        "/cookie": ["Cookie"],
        "/header": ["X-Tenant"],
        "/both": ["Accept-Language, Cookie, X-Tenant"],
        "/open": ["X-Tenant"],
        "/nothing": [],
    }
    with stage_of(front) as stage:
        for path, expect in expected.items():
            fields = {} if path == "/open" else ADA
            first, hit = stage.get(path, fields), stage.get(path, fields)
            assert (first.trace, hit.trace) == ("uri-miss, stored", "hit"), path
            assert vary(first) == vary(hit) == expect, path


def test_what_the_application_says_in_vary_stays_and_nothing_comes_twice(front: Front) -> None:
    for lines, expect in (
        (["X-Tenant"], "X-Tenant, Accept-Language, Cookie"),
        (["cookie", "Accept-Language , x-TENANT"], "cookie, Accept-Language , x-TENANT"),
        (["Accept-Encoding", "", "cookie"], "Accept-Encoding, cookie, Accept-Language, X-Tenant"),
    ):
        with stage_of(front) as stage:
            stage.handler = lambda seen, lines=lines: Reply(
                b"a", fields=[("Vary", line) for line in lines]
            )
            first, hit = stage.get("/both", ADA), stage.get("/both", ADA)
            assert hit.trace == "hit"
            assert ", ".join(vary(first)) == ", ".join(vary(hit)) == expect
    with stage_of(front) as stage:
        stage.handler = lambda seen: Reply(b"a", fields=[("Vary", "*")])
        assert vary(stage.get("/both", ADA)) == ["*"]


def test_every_form_of_a_page_says_what_it_is_selected_by(front: Front) -> None:
    whole = ["Accept-Language, Cookie, X-Tenant"]
    with stage_of(front) as stage:
        first = stage.get("/both", ADA)
        tag = str(first.get("etag"))
        forms = {
            200: stage.get("/both", ADA),
            304: stage.get("/both", {**ADA, "if-none-match": tag}),
            206: stage.get("/both", {**ADA, "range": "bytes=0-1"}),
            416: stage.get("/both", {**ADA, "range": "bytes=99-"}),
            412: stage.get("/both", {**ADA, "if-match": '"other"'}),
        }
        assert {status: form.status for status, form in forms.items()} == {s: s for s in forms}
        head = stage.request("HEAD", "/both", ADA)
        assert (head.trace, head.body) == ("hit", b"")
        stage.clock.advance(3601)
        stage.handler = lambda seen: Reply(b"", status=503)
        stale = stage.get("/both", ADA)
        assert stale.body == first.body
        for form in (first, *forms.values(), head, stale):
            assert vary(form) == whole, form.status


def test_a_page_of_two_kinds_says_both(front: Front) -> None:
    with stage_of(front) as stage:
        stage.handler = lambda seen: Reply(b"long " * 1000, fields=[("Content-Type", "text/html")])
        for _ in range(2):
            for coding in ("gzip", "identity"):
                answer = stage.get("/coded", {**ADA, "accept-encoding": coding})
                assert vary(answer) == ["Cookie, Accept-Encoding"]


def test_a_response_that_leaves_at_once_says_it_too(front: Front) -> None:
    with stage_of(front) as stage:
        stage.handler = lambda seen: Reply(iter([b"a", b"b"]), fields=[("Vary", "x-tenant")])
        first = stage.get("/both", ADA)
        assert vary(first) == ["x-tenant, Accept-Language, Cookie"]
        assert vary(stage.get("/both", ADA)) == vary(first)
        stage.handler = lambda seen: Reply(iter([b"a", b"b"]))
        assert control(stage.get("/person", {"x-user": "ada"})) == ["no-cache", "private"]


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "streamed"])
def test_what_is_not_stored_here_is_no_other_visitors_out_there(
    front: Front, status: int, pieces: bool
) -> None:
    """Too large for us, or of a status that the rule does not store: others may keep it."""

    def large(seen: Any) -> Reply:
        body = b"larger than four"
        fields = [("Cache-Control", "max-age=60"), ("ETag", '"a"')]
        return Reply(iter([body, body]) if pieces else body, status, fields)

    with stage_of(front) as stage:
        stage.handler = large
        for _ in range(2):
            answer = stage.get("/small", ADA)
            assert "refused" in answer.trace or "too-large" in answer.trace
            assert (vary(answer), control(answer)) == (["Cookie"], ["max-age=60"])
            person = stage.get("/person-small", {"x-user": "ada"})
            assert (vary(person), control(person)) == ([], ["max-age=60", "private"])
        if status == 200 and not pieces:
            unchanged = stage.get("/small", {**ADA, "if-none-match": '"a"'})
            assert (unchanged.status, vary(unchanged)) == (304, ["Cookie"])


def test_a_validated_page_keeps_what_it_is_selected_by(front: Front) -> None:
    """The 304 of the application has a ``Vary`` of its own, or none."""
    with stage_of(front) as stage:
        for path in ("/both", "/open"):
            fields = {"x-tenant": "t1"} if path == "/open" else ADA
            expect = ["Accept-Encoding, X-Tenant"]
            if path == "/both":
                expect = ["Accept-Encoding, Accept-Language, Cookie, X-Tenant"]
            said = [("ETag", '"a"'), ("Cache-Control", "max-age=60")]
            for more in ([("Vary", "Accept-Encoding")], []):
                stage.handler = lambda seen, more=more, said=said: Reply(
                    b"" if "if-none-match" in seen.fields else b"page",
                    304 if "if-none-match" in seen.fields else 200,
                    [*said, *more],
                )
                answer = stage.get(path, fields)
                assert vary(answer) == expect, (path, more, answer.trace)
                assert vary(stage.get(path, fields)) == expect
                stage.clock.advance(7200)
            assert "304" in str(answer.get("cache-status"))


def test_an_identity_is_told_by_the_fields_that_were_asked(front: Front) -> None:
    """``private`` keeps shared caches out; a page that the application calls public is for those
    who send the same fields.
    """
    asked = {"x-user": ["X-User"], "cookie": ["Cookie, X-User"], "none": ["Cookie, X-User"]}
    for word, expect in (
        ("public, max-age=60", ["public, max-age=60"]),
        ("s-maxage=60", ["s-maxage=60"]),
        ("max-age=60", ["max-age=60", "private"]),
    ):
        for who, names in asked.items():
            with stage_of(front) as stage:
                stage.handler = lambda seen, word=word: Reply(
                    b"hers", fields=[("Cache-Control", word)]
                )
                fields = {} if who == "none" else {who: "session=ada"}
                first, hit = stage.get("/person", fields), stage.get("/person", fields)
                known = stage.get("/person", {**fields, "if-none-match": "*"})
                part = stage.get("/person", {**fields, "range": "bytes=0-1"})
                assert (known.status, part.status) == (304, 206)
                for answer in (first, hit, known, part):
                    told = [] if "private" in expect else names
                    assert (vary(answer), control(answer)) == (told, expect)


def test_more_keyed_headers_than_a_vary_may_select_by_are_no_reason_to_drop_a_page(
    front: Front,
) -> None:
    headers = {f"x-{n}": {} for n in range(20)} | {"x_odd": {}}
    rule = Rule(path="/many", share="public", mode="http", headers=headers)
    with Scenario(front, [rule]) as stage:
        stage.handler = lambda seen: Reply(
            b"" if "if-none-match" in seen.fields else b"page",
            304 if "if-none-match" in seen.fields else 200,
            [("ETag", '"a"'), ("Cache-Control", "max-age=60")],
        )
        assert stage.get("/many").trace == "uri-miss, stored"
        stage.clock.advance(120)
        again = stage.get("/many")
        assert again.trace == "stale, stored"
        assert "304" in str(again.get("cache-status"))
        assert stage.get("/many").trace == "hit"


def test_two_lines_of_vary_that_became_one_make_no_tag_of_ours_the_applications(
    front: Front,
) -> None:
    """It would be asked for what it never sent (RFC 9111 §4.3.1)."""
    seen: list[Mapping[str, str]] = []

    def handler(asked: Any) -> Reply:
        seen.append(asked.fields)
        return Reply(b"page", fields=[("Vary", "Cookie"), ("Vary", "X-Tenant")])

    with stage_of(front) as stage:
        stage.handler = handler
        assert stage.get("/both", ADA).get("etag") is not None
        stage.clock.advance(3601)
        assert stage.get("/both", ADA).trace == "stale, stored"
    assert len(seen) == 2
    assert not any("if-none-match" in fields for fields in seen)


# Who is a person, at rest.


def planned(rule: Rule, fields: Mapping[str, str], *, vary: str | None = None) -> bytes:
    """The key under which a page of this rule is stored."""
    with Scenario("wsgi", [rule]) as stage:
        more = [] if vary is None else [("Vary", vary)]
        stage.handler = lambda seen: Reply(
            b"page", fields=[("Cache-Control", "public, max-age=60"), *more]
        )
        kept: list[Any] = []
        store: Any = stage.cache.engine.store
        write = store.write_page

        async def noted(place: bytes, page: Any, ttl: float) -> bool:
            kept.append(page)
            return bool(await write(place, page, ttl))

        store.write_page = noted
        assert stage.get(rule.path, fields).trace == "uri-miss, stored"
        (page,) = [page for page in kept if page.status]
        return bytes(page.key)


@pytest.mark.parametrize(
    ("rule", "vary", "expect"),
    [
        (Rule(path="/a", share="public", ttl=9, cookies={"session": {}}), None, True),
        (Rule(path="/a", share="public", ttl=9, headers={"x-api-key": {}}), None, True),
        (Rule(path="/a", share="public", ttl=9, headers={"x-tenant": {}}), None, False),
        (Rule(path="/a", share="public", ttl=9), None, False),
        (Rule(path="/a", share="public", mode="http"), "Cookie", True),
        (Rule(path="/a", share="public", mode="http"), "X-B, Authorization", True),
        (Rule(path="/a", share="public", mode="http"), "Remote-User", True),
        (Rule(path="/a", share="public", mode="http"), "Accept-Language, X-Cookie", False),
        (Rule(path="/a", share="public", mode="http"), None, False),
        (Rule(path="/a", share="public", mode="http", headers={"x-a": {}}), "Cookie", True),
        (Rule(path="/a", share="public", mode="http", headers={"x-a": {}}), "X-A", False),
        (Rule(path="/a", share="public", mode="http", headers={"x-api-key": {}}), "X-B", True),
    ],
)
def test_what_a_cookie_or_credentials_select_is_a_persons_and_sealed(
    rule: Rule, vary: str | None, expect: bool
) -> None:
    given = {"cookie": "session=ada", "x-tenant": "cookie", "x-a": "authorization"}
    if rule.open:
        given["authorization"] = "Basic YQ=="
    for fields in ({}, given):
        assert personal(planned(rule, fields, vary=vary)) is expect


def test_names_in_values_of_a_key_make_nobody_a_person() -> None:
    before = encode(("pagegen", 1)) + encode(("r",)) + encode(())
    hostile = ("cookie", "authorization", "s6:cookie", "l0:")
    place = encode(hostile) + encode(tuple((name, hostile) for name in hostile))
    headers = tuple((f"q-{name}", name) for name in hostile)
    own = before + place + encode((headers, (), ()))
    assert personal(own) is False
    assert personal(own + encode(("vary", (("x-a", "cookie"), ("x-b", None))))) is False
    assert personal(own + encode(("vary", (("x-a", "cookie"), ("cookie", None))))) is True
    assert personal(before + place + encode((headers, (("a", None),), ()))) is True
    assert personal(own + b"s1:x") is True
    assert personal(own + encode(("vary", ())) + b"n") is True
    for odd in (("l0:",), ((),), (("x-a", None, None),), (None,), ("x-a", ("x-b", None))):
        assert personal(before + place + encode((odd, (), ()))) is True
        assert personal(own + encode(("vary", odd))) is True
    for end in range(len(own)):
        assert personal(own[:end]) is True
