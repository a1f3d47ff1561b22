"""What the demo refuses, with which status, and that no refusal is ever cached."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from demo_app.inputs import local_path
from demo_app.timing import server_timing, verdict
from tests.demo.conftest import Demo
from tests.demo.reading import Document, rows


class Refusal(NamedTuple):
    """A GET that is not answered with the page asked for. ``says``: part of what people read."""

    target: str
    status: int
    says: str


REFUSALS = (
    Refusal("/?start=x", 400, "“start” is a whole number from 0 to 10,000."),
    Refusal("/?start=-1", 400, "“start” is"),
    Refusal("/?start=10001&end=10010", 400, "“start” is"),
    Refusal("/?start=%D9%A4", 400, "“start” is"),
    Refusal("/?end=", 400, "“end” is a whole number"),
    Refusal("/?end=0", 400, "“end” must be 1 to 500 more than “start”."),
    Refusal("/?start=7&end=7", 400, "“end” must be"),
    Refusal("/?end=501", 400, "“end” must be"),
    Refusal("/?sort=worst", 400, "“sort” is one of hot, stars, name, newest."),
    Refusal("/?category=No%20such", 400, "“category” is the short name"),
    Refusal("/?category=", 400, "“category” is"),
    Refusal("/?category=none-such", 404, "There is no category called “none-such”."),
    Refusal("/packages/none-such", 404, "There is no package called “none-such”"),
    Refusal("/packages/%3Cscript%3E", 404, "“&lt;script&gt;”"),
    Refusal("/packages/%00", 404, "There is no package"),
    Refusal("/users/99/favorites", 404, "There is no user 99."),
    Refusal("/users/9223372036854775808/favorites", 404, "There is no user 92233"),
    Refusal(f"/users/{'9' * 200}/favorites", 404, "There is no user 99999"),
    Refusal("/users/42/favorites?end=x", 400, "“end” is"),
    Refusal("/users/ada/favorites", 404, "There is no page at this address."),
    Refusal("/users/-1/favorites", 404, "There is no page"),
    Refusal("/nowhere", 404, "There is no page"),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.target[:40])
def test_a_wrong_address_gets_a_page_that_says_why(reader: Demo, refusal: Refusal) -> None:
    for _ in range(2):
        answer = reader.get(refusal.target)
        assert answer.status == refusal.status
        assert refusal.says in answer.text
        assert answer.trace in ("refused-status", "uri-miss") or answer.trace.startswith("bypass")
    page = Document(answer.text)
    assert page.headings in (["That address does not work"], ["Nothing here"])
    assert "`" not in answer.text


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/"),
        ("DELETE", "/packages/flask"),
        ("PUT", "/users/42/favorites"),
        ("GET", "/packages/flask/vote"),
        ("GET", "/users/42/favorites/flask"),
        ("GET", "/sign-in"),
        ("PATCH", "/submit"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(reader: Demo, method: str, target: str) -> None:
    answer = reader.request(method, target)
    assert answer.status == 405
    allowed = answer.get("allow")
    assert allowed is not None
    assert method not in allowed.split(", ")
    assert allowed


class Write(NamedTuple):
    """A POST that changes nothing."""

    target: str
    by: int | None
    form: dict[str, str]
    status: int


WRITES = (
    Write("/users/me/favorites/flask", None, {}, 403),
    Write("/users/42/favorites/flask", None, {}, 403),
    Write("/users/42/favorites/flask", 43, {}, 403),
    Write("/users/042/favorites/flask", 42, {}, 403),
    Write("/users/me/favorites/none-such", 42, {}, 404),
    Write("/users/me/favorites/flask", 999, {}, 404),
    Write("/users/me/favorites/flask", 9_999_999, {}, 403),
    Write("/packages/none-such/vote", None, {}, 404),
    Write("/sign-in", None, {}, 400),
    Write("/sign-in", None, {"user": "Ada"}, 400),
    Write("/sign-in", None, {"user": "99"}, 404),
    Write("/board/do", None, {}, 400),
    Write("/board/do", None, {"user": "42"}, 404),
    Write("/board/do", None, {"user": "99", "slug": "flask"}, 404),
    Write("/nowhere", None, {}, 404),
)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write.target} {write.by}")
def test_a_refused_write_forgets_nothing(reader: Demo, write: Write) -> None:
    pages = ("/", "/packages/flask", "/users/42/favorites", "/users/43/favorites")
    reader.warm(*pages)
    answer = reader.post(write.target, write.form, by=write.by)
    assert answer.status == write.status
    assert answer.get("set-cookie") is None
    Document(answer.text)
    assert reader.traces(*pages) == ["hit"] * len(pages)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://testserver:81", "http://testserver.evil"]
)
@pytest.mark.parametrize("target", ["/packages/flask/vote", "/sign-out", "/board/do"])
def test_another_sites_form_is_refused(reader: Demo, target: str, origin: str) -> None:
    answer = reader.request("POST", target, {"origin": origin}, {"slug": "flask", "user": "42"})
    assert answer.status == 403
    assert "This form was sent from another site." in answer.text


class Form(NamedTuple):
    """A submission that is refused, and the fields that are at fault."""

    id: str
    changes: dict[str, str]
    fields: set[str]


GOOD = {"name": "Brand New", "url": "https://example.org/new", "category": "testing"}
FORMS = (
    Form("empty", dict.fromkeys(GOOD, ""), {"name", "url", "category"}),
    Form("short name", {"name": "x"}, {"name"}),
    Form("long name", {"name": "x" * 61}, {"name"}),
    Form("no letter in the name", {"name": "???"}, {"name"}),
    Form("name that is taken", {"name": "FLASK"}, {"name"}),
    Form("address of nothing", {"url": "https://"}, {"url"}),
    Form("address without a scheme", {"url": "example.org"}, {"url"}),
    Form("script for an address", {"url": "javascript:alert(1)//a.b"}, {"url"}),
    Form("address that cannot be read", {"url": "http://[::1.x"}, {"url"}),
    Form("unknown category", {"category": "none-such"}, {"category"}),
    Form("long licence", {"licence": "x" * 41}, {"licence"}),
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_a_wrong_form_comes_back_as_it_was_with_its_faults_marked(reader: Demo, form: Form) -> None:
    reader.warm("/")
    answer = reader.post("/submit", {**GOOD, **form.changes})
    assert answer.status == 422
    page = Document(answer.text)
    assert {name for name in (*GOOD, "licence") if f"{name}-error" in page.ids} == form.fields
    assert answer.text.count('aria-invalid="true"') == len(form.fields)
    for name, value in {**GOOD, **form.changes}.items():
        assert name == "category" or f'value="{value}"' in answer.text
    assert reader.traces("/") == ["hit"]
    assert f"{len(rows())} packages." in reader.get("/").text


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/packages/flask?x=1#y", "/packages/flask?x=1#y"),
        ("/", "/"),
        ("", "/fallback"),
        ("packages", "/fallback"),
        ("https://evil.example/", "/fallback"),
        ("//evil.example/", "/fallback"),
        ("/\\evil.example/", "/fallback"),
        ("/\t/evil.example/", "/fallback"),
        ("/a\r\nSet-Cookie: x=1", "/fallback"),
        ("/a b", "/fallback"),
        ("/\N{EN DASH}", "/fallback"),
    ],
)
def test_a_form_leads_to_this_site_only(asked: str, given: str) -> None:
    assert local_path(asked, "/fallback") == given


@pytest.mark.parametrize(
    ("cache_status", "word"),
    [
        ("pagegen; hit; ttl=3599", "hit"),
        ("pagegen; fwd=uri-miss; stored", "miss"),
        ('pagegen; fwd=stale; stored; detail="changed: item:1, item:2"', "miss"),
        ('pagegen; fwd=stale; detail="changed: a; hit"', "miss"),
        ("pagegen; fwd=miss; collapsed; stored; ttl=9", "miss"),
        ("pagegen; fwd=bypass; detail=query", "bypass"),
        ("pagegen; fwd=method; detail=method", "bypass"),
        ("near; fwd=miss, far; hit", "hit"),
        ("", "none"),
    ],
)
def test_cache_status_becomes_one_word(cache_status: str, word: str) -> None:
    assert verdict(cache_status) == word
    timing = server_timing(cache_status, "7", 0.00125)
    assert timing == f'cache;desc="{word}", total;dur=1.25, age;dur=7000'
