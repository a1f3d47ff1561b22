"""The cache over real sockets: hits, forgotten pages, validation, and one rendering for many."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Barrier

import httpx
import pytest

from tests.servers.wire import Raw, get, trace
from tests.serving import PATIENCE, Server

CLIENTS = 32


def traces(client: httpx.Client, *targets: str) -> list[str]:
    return [trace(client.get(target)) for target in targets]


def number(response: httpx.Response, pattern: str) -> int:
    found = re.search(pattern, response.text)
    assert found is not None
    return int(found[1])


def test_a_favourite_forgets_the_right_pages(client: httpx.Client) -> None:
    mine = [f"/users/1/favorites{query}" for query in ("", "?end=10", "?start=10&end=20")]
    others = ["/users/2/favorites", "/packages/django", "/?sort=name"]
    pages = [*mine, "/packages/bottle", *others]
    assert traces(client, *pages) == ["uri-miss, stored"] * 7
    assert traces(client, *pages) == ["hit"] * 7
    total = number(client.get(mine[0]), r"([0-9]+) packages, the latest first")
    answer = client.post("/users/me/favorites/bottle", headers={"cookie": "demo_user=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/users/1/favorites")
    assert traces(client, *others) == ["hit"] * 3
    list_now = client.get(mine[0])
    assert list_now.headers["cache-status"] == (
        'pagegen; fwd=stale; ttl=3600; stored; detail="changed: user:1/favorites"'
    )
    assert abs(number(list_now, r"([0-9]+) packages, the latest first") - total) == 1
    assert traces(client, *pages[1:4]) == ["stale, stored"] * 3
    assert traces(client, *pages) == ["hit"] * 7


def test_a_vote_is_seen_by_the_next_reader_on_another_connection(
    server: Server, client: httpx.Client
) -> None:
    votes = r"<dt>Votes here</dt><dd>([0-9]+)</dd>"
    with server.client() as reader:
        first = number(reader.get("/packages/falcon"), votes)
        for more in range(1, 20):
            assert client.post("/packages/falcon/vote").status_code == 303
            assert number(reader.get("/packages/falcon"), votes) == first + more


def test_a_known_page_is_a_304_until_it_is_forgotten(client: httpx.Client) -> None:
    first = client.get("/users/3/favorites")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    same = client.get("/users/3/favorites", headers={"if-none-match": etag})
    assert (same.status_code, same.content, trace(same)) == (304, b"", "hit")
    assert same.headers["etag"] == etag
    assert "content-type" not in same.headers
    client.post("/users/3/favorites/bottle", headers={"cookie": "demo_user=3"})
    new = client.get("/users/3/favorites", headers={"if-none-match": etag})
    assert (new.status_code, trace(new)) == (200, "stale, stored")
    assert new.headers["etag"] != etag


def test_head_is_answered_like_get_without_a_body(client: httpx.Client) -> None:
    cold = client.head("/users/4/favorites")
    assert (cold.status_code, cold.content, trace(cold)) == (200, b"", "bypass: head-miss")
    full = client.get("/users/4/favorites")
    assert trace(full) == "uri-miss, stored"
    warm = client.head("/users/4/favorites")
    assert (warm.status_code, warm.content, trace(warm)) == (200, b"", "hit")
    assert int(warm.headers["content-length"]) == len(full.content)
    assert warm.headers["etag"] == full.headers["etag"]


def test_one_connection_carries_answers_of_every_kind(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.connect()
    ours = connection.sock
    etag = ""
    for method, target, status in (
        ("GET", "/users/5/favorites", 200),
        ("GET", "/users/5/favorites", 200),
        ("HEAD", "/users/5/favorites", 200),
        ("HEAD", "/users/5/favorites?end=7", 200),
        ("GET", "/users/5/favorites", 304),
        ("GET", "/packages/none-such", 404),
        ("POST", "/packages/sanic/vote", 303),
        ("GET", "/?start=x", 400),
        ("GET", "/users/5/favorites", 200),
    ):
        fields = {"if-none-match": etag} if status == 304 else {}
        # What is left over of one answer would be read as the head of the next one.
        connection.request(method, target, headers=fields)
        answer = connection.getresponse()
        assert answer.status == status, (method, target)
        body = answer.read()
        assert bool(body) == (method == "GET" and status != 304) or status == 303
        assert connection.sock is ours, (method, target)
        etag = answer.getheader("etag") or etag
    connection.close()


def crowd(server: Server, target: str) -> list[Raw]:
    """What many clients get who ask for the same page at once."""
    together = Barrier(CLIENTS)

    def ask(_: int) -> Raw:
        pieces = []
        with server.connect() as connection:
            together.wait(PATIENCE)
            connection.sendall(get(target, server.host))
            while piece := connection.recv(65_536):
                pieces.append(piece)
        return Raw(b"".join(pieces))

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(ask, range(CLIENTS)))


@pytest.mark.parametrize(
    "target", ["/?end=500&sort=name", "/users/6/favorites?end=400", "/packages/tornado"]
)
def test_many_clients_on_a_cold_page_cause_one_rendering(server: Server, target: str) -> None:
    answers = crowd(server, target)
    said = [answer.cache_status for answer in answers]
    assert [answer.status for answer in answers] == [200] * CLIENTS
    led = "pagegen; fwd=uri-miss; ttl=3600; stored"
    assert said.count(led) == 1, said
    followers = [one for one in said if one != led]
    assert all("; collapsed" in one or "; hit;" in one for one in followers), said
    assert len({answer.data.partition(b"\r\n\r\n")[2] for answer in answers}) == 1


def test_clients_who_wait_get_the_page_they_waited_for(server: Server) -> None:
    # It takes a tenth of a second and more, and all ask within a few milliseconds.
    said = [answer.cache_status for answer in crowd(server, "/?start=1&end=450&sort=name")]
    assert any("; collapsed" in one for one in said), said


def test_clients_never_see_a_list_from_before_their_own_write(server: Server) -> None:
    """Eight people change their lists and read them, all at once, many times."""

    def visit(user: int) -> None:
        with server.client() as client:
            cookie = {"cookie": f"demo_user={user}"}
            for turn in range(12):
                mark = 'href="/packages/wagtail"'
                before = mark in client.get(f"/users/{user}/favorites?end=400").text
                client.post("/users/me/favorites/wagtail", headers=cookie)
                after = mark in client.get(f"/users/{user}/favorites?end=400").text
                assert after is not before, (user, turn)
                page = client.get("/packages/wagtail").text
                fans = page.partition('data-fans="')[2].partition('"')[0].split()
                assert (str(user) in fans) is after, (user, turn)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(20, 28)))


def test_the_board_tells_what_this_server_holds(client: httpx.Client) -> None:
    client.post("/packages/starlette/vote")
    client.get("/packages/starlette")
    state = json.loads(client.get("/board/state").content)
    tiles = {tile["url"]: tile for tile in state["tiles"]}
    assert tiles["/packages/starlette"]["state"] == "fresh"
    client.post("/packages/starlette/vote")
    state = json.loads(client.get("/board/state").content)
    tiles = {tile["url"]: tile for tile in state["tiles"]}
    assert tiles["/packages/starlette"]["state"] == "forgotten"
    assert tiles["/packages/starlette"]["changed"] == ["package:starlette"]
    assert state["events"][0]["what"] == "POST /packages/starlette/vote"
