"""nginx and Varnish in front of pagegen: what they keep, what they ask, what they never show."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import httpx
import pytest

from tests.clients.application import LINE, LINES
from tests.clients.conftest import NewItem
from tests.clients.programs import Origin, Program
from tests.processes import PATIENCE

SIZE = LINE * LINES


@pytest.fixture
def client(proxy: Program) -> Iterator[httpx.Client]:
    """Somebody who asks the proxy."""
    with proxy.client() as made:
        yield made


def until(holds: Callable[[], bool], what: str) -> None:
    """Ask again and again: the proxies' clocks cannot be set, and no event tells what they did."""
    end = monotonic() + PATIENCE
    while not holds():
        assert monotonic() < end, what


@pytest.mark.parametrize("kind", ["items", "old", "packed"])
def test_a_namespaced_page_is_never_kept_there(
    kind: str, client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    for version in range(6):
        for _ in range(2):
            got = client.get(page)
            assert f"version {version}" in got.text
            assert got.headers["cache-control"] == "no-cache"
        origin.change(page)
    # Each of them was asked for here, and each version was rendered once.
    assert len([answer for answer in origin.answers(page) if answer.startswith("GET")]) == 12
    assert origin.renderings(page) == 6


def test_whoever_writes_through_it_sees_what_was_written(
    client: httpx.Client, new_item: NewItem
) -> None:
    page = new_item("items")
    for version in range(6):
        assert f"version {version}" in client.get(page).text
        new = client.post(page, follow_redirects=True)
        assert f"version {version + 1}" in new.text


def test_many_readers_never_see_a_page_from_before_a_write_that_has_ended(
    proxy: Program, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("items")
    written = 0

    def read(_: int) -> None:
        with proxy.client() as client:
            for _ in range(15):
                least = written
                shown = int(client.get(page).text.partition("<h1>version ")[2].partition("<")[0])
                assert shown >= least

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, number) for number in range(4)]
        for version in range(1, 16):
            origin.change(page)
            written = version
        for reader in readers:
            reader.result(PATIENCE)
    # A write forgets twice: when it says so, and when its handler has ended.
    assert origin.renderings(page) <= 1 + 2 * 15


def test_a_page_that_was_read_before_a_write_is_shown_to_nobody_who_asks_after_it(
    proxy: Program, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("items")

    def ask() -> str:
        with proxy.client() as client:
            return client.get(page).text

    with ThreadPoolExecutor(2) as pool:
        with origin.held(page) as wait_for_the_rendering:
            early = pool.submit(ask)
            wait_for_the_rendering()
            origin.change(page)
            # It may wait behind the first at the proxy, which does not know better.
            late = pool.submit(ask)
        assert "version 0" in early.result(PATIENCE)
        assert "version 1" in late.result(PATIENCE)
    assert "version 1" in ask()


def test_the_etag_of_a_namespaced_page_is_known_behind_it_too(
    proxy: Program, client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("items")
    first = client.get(page)
    known = {"if-none-match": first.headers["etag"]}
    # nginx takes conditions out wherever its cache is on, and answers them itself for pages that it
    # may keep only: it sends what it must not keep in full.
    saved = proxy.name == "varnish"
    for _ in range(3):
        same = client.get(page, headers=known)
        assert same.headers["etag"] == first.headers["etag"]
        assert (same.status_code, same.content) == ((304, b"") if saved else (200, first.content))
    assert origin.renderings(page) == 1
    origin.change(page)
    new = client.get(page, headers=known)
    assert (new.status_code, "version 1" in new.text) == (200, True)


def test_a_page_for_a_minute_is_kept_there(
    client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    first = client.get(page)
    assert [client.get(page).content for _ in range(3)] == [first.content] * 3
    assert origin.answers(page) == ["GET 200"]
    assert first.headers["cache-control"] == "public, max-age=60"


def test_the_time_a_page_spent_here_counts_there(
    proxy: Program, client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    with origin.client(headers={"host": f"127.0.0.1:{proxy.port}"}) as other:
        other.get(page)
    origin.pass_time(40)
    for _ in range(2):
        assert 40 <= int(client.get(page).headers["age"]) < 50
    assert origin.renderings(page) == 1


@pytest.mark.parametrize("kind", ["spoken", "heard"])
def test_two_languages_are_kept_apart(
    kind: str, client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    for _ in range(3):
        for language, text in (("de", "Fassung 0"), ("en", "version 0")):
            got = client.get(page, headers={"accept-language": language})
            assert (got.text, got.headers["content-language"]) == (text, language)
            assert "accept-language" in got.headers["vary"].lower()
    assert origin.renderings(page) == 2


def test_it_validates_what_it_kept_and_is_told_that_nothing_changed(
    client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("brief")
    first = client.get(page)

    def validated() -> bool:
        assert client.get(page).content == first.content
        return "GET 304" in origin.answers(page)

    until(validated, "the proxy never validated")
    assert set(origin.answers(page)) == {"GET 200", "GET 304"}
    assert origin.renderings(page) == 1


@pytest.mark.parametrize("kind", ["timed", "items"])
def test_parts_are_its_bytes(kind: str, client: httpx.Client, new_item: NewItem) -> None:
    page = new_item(kind)
    for _ in range(2):
        whole = client.get(page).content
        for asked, span in (
            ("0-9", slice(0, 10)), ("20-29", slice(20, 30)), ("-10", slice(-10, None)),
        ):  # fmt: skip
            part = client.get(page, headers={"range": f"bytes={asked}"})
            # Whoever cannot store a page may ignore the range, and nginx does.
            assert part.content == (whole[span] if part.status_code == 206 else whole)
            if kind == "timed":
                assert part.status_code == 206
                assert part.headers["content-range"].endswith(f"/{SIZE}")
    over = client.get(page, headers={"range": "bytes=99999-"})
    assert over.status_code == 416 or over.content == whole


def test_a_part_of_a_page_that_nobody_has_yet_is_right_and_no_page(
    client: httpx.Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    part = client.get(page, headers={"range": "bytes=10-19"})
    whole = client.get(page)
    assert (part.status_code, whole.status_code, len(whole.content)) == (206, 200, SIZE)
    assert part.content == whole.content[10:20]
    assert origin.renderings(page) == 1


@pytest.mark.parametrize("kind", ["timed", "items"])
@pytest.mark.parametrize("cold", [True, False])
def test_a_head_says_what_a_get_says(
    cold: bool, kind: str, client: httpx.Client, new_item: NewItem
) -> None:
    page = new_item(kind)
    if not cold:
        client.get(page)
    head, full = client.head(page), client.get(page)
    assert (head.status_code, head.content) == (200, b"")
    names = ["content-length", "content-type", "cache-control"]
    if kind == "timed" or not cold:
        # The validator is made of the body, which a HEAD of a page that nobody has did not see.
        names.append("etag")
    for name in names:
        assert head.headers[name] == full.headers[name], name
    assert int(head.headers["content-length"]) == len(full.content)


def test_a_client_of_http_1_0_gets_it_through_both(
    proxy: Program, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as connection:
            asked = f"GET {page} HTTP/1.0\r\nHost: 127.0.0.1:{proxy.port}\r\n\r\n"
            connection.sendall(asked.encode())
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (head.split(b" ")[1], len(body)) == (b"200", SIZE)
