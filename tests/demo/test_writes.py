"""The demo's writes, and which pages each of them forgets: those, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from demo_app.schema import open_engine, write
from pagegen.testing import Front
from tests.demo.conftest import Demo, running
from tests.demo.reading import fans, figures, listed

SLICES: Final = ("", "?start=20&end=40", "?start=40&end=60", "?end=10", "?end=100")
ADAS: Final = tuple(f"/users/42/favorites{query}" for query in SLICES)
GRACES: Final = tuple(f"/users/43/favorites{query}" for query in SLICES)
LISTS: Final = ("/", "/?sort=stars", "/?category=testing")
REST: Final = (*GRACES, *LISTS, "/packages/django", "/users")

ANEW: Final = "stale, stored"


def wall(demo: Demo) -> dict[str, Any]:
    """What the board's script would get now."""
    answer = demo.get("/board/state")
    assert (answer.status, answer.trace) == (200, "bypass: rule")
    assert answer.get("cache-control") == "no-store"
    state: dict[str, Any] = json.loads(answer.body)
    return state


def test_a_favourite_forgets_all_slices_of_its_list_and_the_packages_page(demo: Demo) -> None:
    demo.warm(*ADAS, "/packages/flask", *REST)
    answer = demo.post("/users/me/favorites/flask", by=42)
    assert (answer.status, answer.get("location")) == (303, "/users/42/favorites")
    assert demo.traces(*REST) == ["hit"] * len(REST)
    assert demo.traces(*ADAS, "/packages/flask") == [ANEW] * 6
    assert demo.traces(*ADAS, "/packages/flask") == ["hit"] * 6


def test_a_favourite_is_seen_at_once_everywhere_and_so_is_its_end(demo: Demo) -> None:
    before = listed(demo.get(ADAS[0]).text)
    fans_before = fans(demo.get("/packages/flask").text)
    demo.post("/users/42/favorites/flask", by=42)
    html = demo.get(ADAS[0]).text
    assert listed(html) == ["flask", *before[:19]]
    assert "63 packages" in html
    assert fans(demo.get("/packages/flask").text) == [42, *fans_before]
    demo.post("/users/42/favorites/flask", {"next": "/packages/flask"}, by=42)
    assert listed(demo.get(ADAS[0]).text) == before
    assert fans(demo.get("/packages/flask").text) == fans_before


def test_a_vote_forgets_what_the_configuration_says_without_code(demo: Demo) -> None:
    others = (*ADAS, *GRACES, "/packages/django", "/users")
    demo.warm("/packages/flask", *LISTS, *others)
    told = figures(demo.get("/packages/flask").text)
    answer = demo.post("/packages/flask/vote", {"next": "/packages/flask"})
    assert (answer.status, answer.get("location")) == (303, "/packages/flask")
    assert demo.traces(*others) == ["hit"] * len(others)
    assert demo.traces("/packages/flask", *LISTS) == [ANEW] * 4
    now = figures(demo.get("/packages/flask").text)
    assert int(now["Votes here"]) == int(told["Votes here"]) + 1
    assert int(now["Heat now"]) == int(told["Heat now"]) + 25


def test_votes_move_a_package_up_the_list(demo: Demo) -> None:
    before = listed(demo.get("/").text)
    second, first = before[before.index("flask") - 1], "flask"
    for _ in range(4):
        demo.post("/packages/flask/vote")
    after = listed(demo.get("/").text)
    assert after.index(first) < after.index(second)


@pytest.mark.parametrize(
    "target", ["//packages/flask/vote", "/packages//flask/vote", "/packages/flask/vote/"]
)
def test_a_vote_that_counted_is_forgotten_however_its_path_was_spelled(
    demo: Demo, target: str
) -> None:
    demo.warm("/packages/flask")
    demo.post(target)
    true = demo.request("GET", "/packages/flask", app=demo.bare)
    served = demo.get("/packages/flask")
    assert figures(served.text)["Votes here"] == figures(true.text)["Votes here"]


def test_a_submission_forgets_the_catalogue_and_stands_in_it(demo: Demo) -> None:
    others = (*ADAS, *GRACES, "/packages/flask", "/users")
    demo.warm(*LISTS, *others)
    assert demo.get("/packages/brand-new").status == 404
    form = {"name": "Brand <New>", "url": "https://example.org/new", "category": "testing"}
    answer = demo.post("/submit", form)
    assert (answer.status, answer.get("location")) == (303, "/packages/brand-new")
    assert demo.traces(*others) == ["hit"] * len(others)
    assert demo.traces(*LISTS) == [ANEW] * 3
    assert "735 packages." in demo.get("/").text
    assert listed(demo.get("/?sort=newest").text)[0] == "brand-new"
    assert "brand-new" in listed(demo.get("/?category=testing&end=500").text)
    page = demo.get("/packages/brand-new")
    assert page.status == 200
    assert "<h1>Brand &lt;New&gt;</h1>" in page.text
    assert "submitted here" in page.text
    # A submitted package has votes but no history to draw.
    demo.post("/packages/brand-new/vote")
    assert figures(demo.get("/packages/brand-new").text)["Heat now"] == "25"


def test_a_name_can_be_submitted_once(demo: Demo) -> None:
    form = {"name": "Brand New", "url": "https://example.org/new", "category": "testing"}
    assert demo.post("/submit", form).status == 303
    again = demo.post("/submit", {**form, "name": "brand  new!"})
    assert again.status == 422
    assert "already has a package at /packages/brand-new" in again.text


def test_signing_in_and_out_sets_cookies_and_touches_no_page(demo: Demo) -> None:
    demo.warm(*REST)
    entered = demo.post("/sign-in", {"user": "42", "next": "//evil.example"})
    assert (entered.status, entered.get("location")) == (303, "/users/42/favorites")
    cookies = entered.get("set-cookie") or ""
    assert "demo_user=42;" in cookies
    assert "demo_name=Ada;" in cookies
    assert cookies.lower().count("samesite=lax") == 2
    left = demo.post("/sign-out", {"next": "/users"}, by=42)
    assert (left.status, left.get("location")) == (303, "/users")
    assert (left.get("set-cookie") or "").count("Max-Age=0") == 2
    assert demo.traces(*REST) == ["hit"] * len(REST)


def test_the_board_follows_what_is_cached(demo: Demo) -> None:
    state = wall(demo)
    assert len(state["tiles"]) == 20
    assert {tile["state"] for tile in state["tiles"]} == {"absent"}
    assert (state["fresh"], state["events"]) == (0, [])
    for tile in state["tiles"]:
        assert demo.get(tile["url"]).trace == "uri-miss, stored"
    state = wall(demo)
    assert state["fresh"] == 20
    assert all(tile["age"] >= 0 and tile["cost"] > 0 for tile in state["tiles"])


@pytest.mark.parametrize(
    ("target", "form", "names", "forgotten"),
    [
        ("/board/do", {"user": "42", "slug": "flask"}, ["user:42/favorites", "package:flask"], 6),
        ("/board/do", {"user": "43", "slug": "saleor"}, ["user:43/favorites", "package:saleor"], 5),
        ("/packages/wagtail/vote", {}, ["package:wagtail", "catalogue"], 6),
        ("/board/do", {"add": "sample"}, ["catalogue"], 5),
    ],
    ids=["favourite", "favourite of no tile", "vote", "sample"],
)
def test_the_board_tells_what_one_write_forgot(
    demo: Demo, target: str, form: dict[str, str], names: list[str], forgotten: int
) -> None:
    demo.warm(*(tile["url"] for tile in wall(demo)["tiles"]))
    fields = {"origin": "http://testserver"}
    answer = demo.request("POST", target, fields, {**form, "next": "/board"})
    assert (answer.status, answer.get("location")) == (303, "/board")
    state = wall(demo)
    (event,) = state["events"]
    assert event["namespaces"] == names
    assert (event["forgotten"], event["cached"]) == (forgotten, 20)
    turned = [tile for tile in state["tiles"] if tile["state"] == "forgotten"]
    assert len(turned) == forgotten
    assert all(set(tile["changed"]) & set(names) for tile in turned)
    assert state["fresh"] == 20 - forgotten
    assert event["what"] in demo.get("/board").text


def test_the_board_remembers_the_latest_writes_only(demo: Demo) -> None:
    for _ in range(45):
        demo.post("/packages/flask/vote")
    events = wall(demo)["events"]
    assert [event["id"] for event in events] == list(range(45, 5, -1))


def test_the_boards_of_all_workers_show_the_same_writes(
    demo: Demo, front: Front, tmp_path: Path
) -> None:
    with running(front, tmp_path / "demo.sqlite") as other:
        demo.post("/packages/flask/vote")
        other.post("/packages/django/vote")
        events = wall(demo)["events"]
        assert events == wall(other)["events"]
    assert [(event["id"], event["what"]) for event in events] == [
        (2, "POST /packages/django/vote"),
        (1, "POST /packages/flask/vote"),
    ]


def test_a_write_is_forgotten_even_if_the_board_cannot_note_it(
    demo: Demo, front: Front, tmp_path: Path
) -> None:
    file = tmp_path / "demo.sqlite"
    demo.warm(ADAS[0], "/packages/flask")
    engine = open_engine(file)
    write.drop(engine)
    engine.dispose()
    assert demo.post("/users/me/favorites/flask", by=42).status == 303
    assert demo.post("/packages/flask/vote").status == 303
    assert demo.traces(ADAS[0], "/packages/flask") == [ANEW] * 2
    with running(front, file) as later:  # and a database of before gets what it lacks
        assert wall(later)["events"] == []
