"""Every page of both demo applications: its facts, its form, and what it must not depend on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Final

import pytest

from demo_app.pages import HEADERS, STATIC
from demo_app.seed import PEOPLE
from pagegen.testing import Front
from tests.demo.conftest import Demo, timeless
from tests.demo.reading import Document, fans, figures, listed, rows

PUBLIC: Final = (
    "/",
    "/?category=testing&sort=name",
    "/?start=700&end=750",
    "/?start=9000&end=9024",
    "/packages/flask",
    "/packages/celery",
    "/users",
    "/users/42/favorites",
    "/users/43/favorites?start=40&end=60",
    "/users/42/favorites?start=900&end=920",
    "/submit",
)


@pytest.mark.parametrize("target", [*PUBLIC, "/board"])
def test_every_page_answers_with_sound_html(reader: Demo, target: str) -> None:
    answer = reader.get(target)
    assert answer.status == 200
    assert answer.get("content-type") == "text/html; charset=utf-8"
    page = Document(answer.text)
    assert len(page.headings) == 1
    assert page.title.endswith(" · The Catalogue")
    assert {name: answer.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("target", PUBLIC)
def test_both_applications_render_the_same_page(readers: Mapping[Front, Demo], target: str) -> None:
    one, two = (readers[front].request("GET", target, app=readers[front].bare) for front in readers)
    assert one.status == two.status == 200
    assert timeless(one.text) == timeless(two.text)
    # The bill is part of the page: neither application asks the database more than the other.
    assert re.search(r"</b> ms, [0-9]+ quer(?:y|ies)</span>", one.text)


@pytest.mark.parametrize("target", PUBLIC)
def test_no_public_page_depends_on_cookies(reader: Demo, target: str) -> None:
    anonymous = reader.request("GET", target, app=reader.bare)
    cookies = {"cookie": "demo_user=42; demo_name=Ada"}
    signed_in = reader.request("GET", target, cookies, app=reader.bare)
    assert timeless(signed_in.text) == timeless(anonymous.text)
    assert anonymous.get("set-cookie") is signed_in.get("set-cookie") is None
    # Through the cache it is not only the same page but the same bytes.
    if target != "/submit":
        whole = reader.get(target, cookies)
        assert reader.get(target).chunks == whole.chunks


@pytest.mark.parametrize("target", PUBLIC)
def test_all_but_the_form_is_cached_and_says_what_it_costs(reader: Demo, target: str) -> None:
    reader.get(target)
    answer = reader.get(target)
    verdict = "bypass" if target == "/submit" else "hit"
    assert answer.trace == ("bypass: no-rule" if target == "/submit" else "hit")
    timing = answer.get("server-timing")
    assert timing is not None
    assert re.match(rf'cache;desc="{verdict}", total;dur=[0-9.]+', timing)
    assert ("age;dur=" in timing) == (verdict == "hit")


def test_every_link_of_the_main_pages_leads_somewhere(reader: Demo) -> None:
    pages = [Document(reader.get(target).text) for target in (*PUBLIC, "/board")]
    links = set[str]().union(*(page.links for page in pages))
    assert len(links) > 150
    assert {link: status for link in links if (status := reader.get(link).status) != 200} == {}
    for asset in set[str]().union(*(page.assets for page in pages)):
        assert reader.get(asset).status == 200, asset


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
def test_static_files_are_never_cached_here(reader: Demo, name: str) -> None:
    for _ in range(2):
        answer = reader.get(f"/static/{name}")
        assert (answer.status, answer.trace) == (200, "bypass: rule")
        assert answer.body == (STATIC / name).read_bytes()


@pytest.mark.parametrize("target", ["/static/../asgi.py", "/static/%2e%2e/asgi.py", "/static/no"])
def test_no_other_file_is_served(reader: Demo, target: str) -> None:
    assert reader.get(target).status == 404


def test_the_catalogue_shows_what_the_data_file_holds(reader: Demo) -> None:
    assert f"{len(rows())} packages." in reader.get("/").text
    by_stars = sorted(rows(), key=lambda row: (-int(row["stars"] or -1), row["name"].lower()))
    html = reader.get("/?sort=stars").text
    assert listed(html) == [row["slug"] for row in by_stars[:24]]
    by_name = sorted(row["name"].lower() for row in rows())
    html = reader.get("/?sort=name&start=100&end=124").text
    names = re.findall(r'class="name" href="/packages/[^"]+">([^<]+)<', html)
    assert [name.lower() for name in names] == by_name[100:124]


def test_a_category_shows_its_packages_and_no_others(reader: Demo) -> None:
    # `Testing` and `testing` are one category.
    spelled = Counter(row["category"] for row in rows() if row["category"].lower() == "testing")
    assert len(spelled) == 2
    html = reader.get("/?category=testing&end=500").text
    wanted = {row["slug"] for row in rows() if row["category"].lower() == "testing"}
    assert set(listed(html)) == wanted
    assert len(listed(html)) == spelled.total() == 70


@pytest.mark.parametrize("base", ["/?sort=hot&", "/?sort=newest&", "/users/42/favorites?"])
def test_slices_join_without_gap_or_overlap(reader: Demo, base: str) -> None:
    whole = listed(reader.get(f"{base}start=0&end=60").text)
    parts = [listed(reader.get(f"{base}start={at}&end={at + 20}").text) for at in range(0, 60, 20)]
    assert list(chain.from_iterable(parts)) == whole
    assert len(set(whole)) == 60


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_packages_page_tells_its_facts(reader: Demo, first: int) -> None:
    for row in rows()[first * 8 :: 24]:
        answer = reader.get(f"/packages/{row['slug']}")
        assert answer.status == 200, row["slug"]
        assert Document(answer.text).headings == [row["name"]]
        told = figures(answer.text)
        assert told["Licence"] == (row["licence"] or "unknown")
        assert told.get("Repository", "") == row["repo"]
        assert told.get("Since", "") == row["created_year"]
        assert told["Stars"].endswith("k") == (int(row["stars"] or 0) >= 1000)
        assert (told["Stars"] == "–") == (not row["stars"])
        assert told["Favourites"] == str(len(fans(answer.text)))


def test_a_package_with_a_history_has_a_chart_for_either_width(reader: Demo) -> None:
    assert reader.get("/packages/flask").text.count('<svg class="chart ') == 2
    html = reader.get("/packages/celery").text
    assert '<svg class="chart ' not in html
    assert "There is no star history of this package." in html


def test_favourites_agree_from_both_sides(reader: Demo) -> None:
    html = reader.get("/users/42/favorites?end=100").text
    assert "62 packages, the latest first." in html
    assert len(listed(html)) == 62
    for slug in listed(html)[::10]:
        assert 42 in fans(reader.get(f"/packages/{slug}").text)
    assert 42 not in fans(reader.get("/packages/flask").text)


def test_all_people_can_be_chosen(reader: Demo) -> None:
    html = reader.get("/users").text
    people = re.findall(r'data-person="([0-9]+)".*?>([^<]+)<small>', html, re.DOTALL)
    assert people == [(str(number), name) for number, name in enumerate(PEOPLE, 1)]
    assert ("42", "Ada") in people


def test_the_form_offers_every_category(reader: Demo) -> None:
    offered = re.findall(r'<option value="([^"]+)"', reader.get("/submit").text)
    linked = re.findall(r'href="/\?category=([^"&]+)"', reader.get("/").text)
    assert sorted(offered) == sorted(set(linked))
    assert len(offered) == len(set(offered))
