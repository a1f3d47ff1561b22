"""The Redis store: its verbs on both faces, its URL, and what a server may refuse."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagegen import ConfigError
from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.redis import RedisStore
from pagegen.stores.redis.server import parse_server
from tests.stores.redis_faces import AMPLE, BOTH_FACES, Face, mint, opened, page, slot
from tests.stores.redis_servers import RedisServer, eventually, free_port


@pytest.fixture(params=[False, True], ids=["blocking", "loop"])
def face(request: pytest.FixtureRequest, shared_redis: RedisServer) -> Iterator[Face]:
    shared_redis.run("FLUSHALL")
    with opened(shared_redis.url, on_loop=request.param) as face:
        yield face


def test_page_and_tokens_come_in_one_trip(face: Face, shared_redis: RedisServer) -> None:
    added = face.add(a=b"1" * 16, b=b"2" * 16)
    assert face.write(slot(), page(b"body"))
    face.read(slot(), "a")
    before = shared_redis.run("INFO", "commandstats")["cmdstat_mget"]["calls"]
    found = face.read(slot(), "b", "missing", "a")
    assert found.page is not None
    assert found.page.body == b"body"
    assert found.tokens == (added["b"], None, added["a"])
    calls = shared_redis.run("INFO", "commandstats")["cmdstat_mget"]["calls"]
    assert calls == before + 1


def test_a_token_is_seen_as_it_was_added_and_carries_the_server(face: Face) -> None:
    added = face.add(a=b"1" * 16)
    assert face.tokens("a") == (added["a"],)
    assert added["a"].startswith(b"1" * 16)
    assert len(added["a"]) == 24
    assert face.add(a=b"2" * 16, b=b"3" * 16)["a"] == added["a"]
    face.replace(a=b"4" * 16)
    assert face.tokens("a")[0] == b"4" * 16 + added["a"][16:]


def test_both_faces_and_two_stores_see_the_same(shared_redis: RedisServer) -> None:
    with (
        opened(shared_redis.url, on_loop=False) as one,
        opened(shared_redis.url, on_loop=True) as other,
    ):
        names = [mint().hex() for _ in range(50)]
        for name in names:
            token = one.add(**{name: mint()})
            assert other.add(**{name: mint()}) == token
            other.replace(**{name: mint()})
            assert one.tokens(name) == other.tokens(name) != (token[name],)


def test_nothing_is_asked_for_nothing(face: Face, shared_redis: RedisServer) -> None:
    before = shared_redis.run("INFO", "stats")["total_connections_received"]
    assert face.read(None) == (None, ())
    assert face.add() == {}
    face.replace()
    after = shared_redis.run("INFO", "stats")["total_connections_received"]
    assert after == before + 1  # the test's own


def test_what_is_short_lived_expires(face: Face) -> None:
    face.write(slot(), page(), ttl=0.05)
    face.run(lambda verbs: verbs.add_tokens({"a": mint()}, 0.05))
    eventually(lambda: face.read(slot(), "a") == (None, (None,)), "never expires")


def test_the_longest_time_and_the_shortest_are_accepted(
    face: Face, shared_redis: RedisServer
) -> None:
    assert face.write(slot(), page(), ttl=2.0**31)
    assert face.write(slot(1), page(), ttl=0.0)
    face.run(lambda verbs: verbs.replace_tokens({"a": mint()}, 2.0**31))
    times = [shared_redis.run("TTL", key) for key in shared_redis.run("KEYS", "pg1:*")]
    assert any(seconds > 2**31 - 100 for seconds in times)


def test_an_empty_slot_may_be_emptied(face: Face) -> None:
    face.write(slot(), page())
    face.run(lambda verbs: verbs.delete_page(slot()))
    face.run(lambda verbs: verbs.delete_page(slot()))
    assert face.read(slot()).page is None


def test_a_lease_has_one_holder_who_alone_gives_it_back(face: Face) -> None:
    one, other = mint(), mint()
    assert face.run(lambda verbs: verbs.acquire(slot(), one, 60))
    assert not face.run(lambda verbs: verbs.acquire(slot(), other, 60))
    face.run(lambda verbs: verbs.release(slot(), other))
    assert not face.run(lambda verbs: verbs.acquire(slot(), other, 60))
    face.run(lambda verbs: verbs.release(slot(), one))
    assert face.run(lambda verbs: verbs.acquire(slot(), other, 60))


def test_pages_of_another_site_or_another_key_are_not_seen(shared_redis: RedisServer) -> None:
    sites = [
        RedisStore(shared_redis.url, site=site, site_key=key, timeout=AMPLE)
        for site, key in (("a", ""), ("b", ""), ("a", "secret"), ("a", "other"))
    ]
    step(sites[0].write_page(slot(9), page(), 60))
    step(sites[0].add_tokens({"only-a": mint()}, 60))
    for other in sites[1:]:
        assert step(other.read(slot(9), ("only-a",))) == (None, (None,))
    for store in sites:
        store.close()


def test_a_foreign_value_in_a_slot_is_a_miss(face: Face, shared_redis: RedisServer) -> None:
    face.write(slot(), page())
    (key,) = shared_redis.run("KEYS", "pg1:*")
    for command in (("SET", key, b"rubbish"), ("DEL", key), ("HSET", key, "a", "b")):
        shared_redis.run(*command)
        assert face.read(slot()).page is None


@BOTH_FACES
def test_a_unix_socket_leads_there_too(on_loop: bool) -> None:
    with (
        RedisServer(unix=True) as server,
        opened(server.url, on_loop=on_loop) as face,
    ):
        added = face.add(a=mint())
        assert face.tokens("a") == (added["a"],)


@BOTH_FACES
def test_a_database_of_its_own(on_loop: bool, shared_redis: RedisServer) -> None:
    url = shared_redis.url.replace("/0", "/3")
    with opened(url, on_loop=on_loop) as face, opened(shared_redis.url, on_loop=False) as other:
        face.add(somewhere=mint())
        assert other.tokens("somewhere") == (None,)
        assert face.tokens("somewhere") != (None,)


@BOTH_FACES
def test_tls_is_spoken_and_its_certificate_checked(on_loop: bool, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with RedisServer(
        "--tls-port", "0", "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    ) as server:  # fmt: skip
        port = _tls_port(server)
        good = f"rediss://127.0.0.1:{port}/0?ca={certificate.name}"
        with opened(good, on_loop=on_loop, directory=tmp_path) as face:
            added = face.add(a=mint())
            assert face.tokens("a") == (added["a"],)
            assert face.write(slot(), page(b"x" * 1_000_000))
            found = face.read(slot()).page
            assert found is not None
            assert found.body == b"x" * 1_000_000
            assert face.count("connections") == 1
        with (
            opened(f"rediss://127.0.0.1:{port}/0", on_loop=on_loop) as face,
            pytest.raises(StoreError, match="certificate"),
        ):
            face.tokens("a")


def _tls_port(server: RedisServer) -> int:
    for port in range(server.port + 1, server.port + 50):
        try:
            server.run("CONFIG", "SET", "tls-port", str(port))
        except Exception:
            continue
        return port
    raise AssertionError("no free port")


PASSWORD = "s3cr:t/@%?"
ENCODED = "s3cr%3At%2F%40%25%3F"


@BOTH_FACES
def test_a_password_is_used_and_shown_nowhere(
    on_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer() as server:
        server.run("ACL", "SETUSER", "web", "on", f">{PASSWORD}", "~pg1:*", "+@all")
        url = server.url.replace("redis://", f"redis://web:{ENCODED}@")
        with opened(url, on_loop=on_loop) as face:
            added = face.add(a=mint())
            assert face.tokens("a") == (added["a"],)
            told = repr(face.store)
        server.run("ACL", "SETUSER", "web", "resetpass", ">other")
        with (
            opened(url, on_loop=on_loop) as face,
            pytest.raises(StoreError, match="user and password") as error,
        ):
            face.tokens("a")
        told += str(error.value) + caplog.text
        told += repr(parse_server(url))
    assert "s3cr" not in told


@BOTH_FACES
def test_a_server_that_wants_a_password_says_so_once(
    on_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer("--requirepass", "x") as server, opened(server.url, on_loop=on_loop) as face:
        for _ in range(3):
            with pytest.raises(StoreError, match="redis://USER:PASSWORD@HOST"):
                face.tokens("a")
    assert caplog.text.count("cannot be used") == 1


def test_a_user_without_info_is_told_what_to_allow_once(
    face: Face, shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    shared_redis.run("ACL", "SETUSER", "poor", "on", ">p", "~pg1:*", "+@all", "-info")
    url = shared_redis.url.replace("redis://", "redis://poor:p@")
    with opened(url, on_loop=face.loop is not None) as poor:
        for _ in range(3):
            with pytest.raises(StoreError, match=r"\+info"):
                poor.tokens("a")
    assert caplog.text.count("cannot be used") == 1


def test_the_rights_that_the_remedy_names_are_enough(face: Face, shared_redis: RedisServer) -> None:
    rights = ("resetkeys", "~pg1:*", "+info", "+mget", "+set", "+unlink", "+eval", "+get", "+del")
    shared_redis.run("ACL", "SETUSER", "fit", "on", ">p", "-@all", *rights)
    url = shared_redis.url.replace("redis://", "redis://fit:p@")
    with opened(url, on_loop=face.loop is not None) as fit:
        added = fit.add(a=mint())
        fit.write(slot(), page())
        assert fit.read(slot(), "a").tokens == (added["a"],)
        fit.replace(a=mint())
        assert fit.run(lambda verbs: verbs.acquire(slot(), b"me", 60))
        fit.run(lambda verbs: verbs.release(slot(), b"me"))
        fit.run(lambda verbs: verbs.delete_page(slot()))


def test_a_server_out_of_memory_has_no_room_for_pages_and_is_not_failing(face: Face) -> None:
    with (
        RedisServer("--maxmemory", "1mb") as server,
        opened(server.url, on_loop=face.loop is not None) as full,
    ):
        assert not full.write(slot(), page(b"x" * 2_000_000))
        server.run("CONFIG", "SET", "maxmemory", "1")
        assert not full.write(slot(), page())
        with pytest.raises(StoreError, match="OOM"):
            full.replace(a=mint())
        with pytest.raises(StoreError, match="no room"):
            full.add(a=mint())
        assert full.tokens("a") == (None,)
        assert full.count("failures") == 0
        assert full.count("connections") == 1


@BOTH_FACES
def test_a_cluster_is_refused_with_a_remedy(
    on_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server,
        opened(server.url, on_loop=on_loop) as face,
    ):
        for _ in range(3):
            with pytest.raises(StoreError, match="Cluster is not supported"):
                face.read(slot(), "a", "b")
    assert caplog.text.count("Redis Cluster is not supported") <= 2


def test_one_loop_after_another_and_two_at_once(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE)
    twin = store.on_loop()

    async def use() -> tuple[bytes | None, ...]:
        await asyncio.gather(*(twin.read(slot(), ("loops",)) for _ in range(20)))
        return (await twin.read(None, ("loops",))).tokens

    added = step(store.add_tokens({"loops": mint()}, 60))
    for _ in range(3):
        assert asyncio.run(use()) == (added["loops"],)
    with (
        opened(shared_redis.url, on_loop=True) as one,
        opened(shared_redis.url, on_loop=True) as other,
    ):
        assert one.loop is not None
        assert other.loop is not None
        running = [
            asyncio.run_coroutine_threadsafe(use(), loop.loop)
            for loop in (one.loop, other.loop, one.loop)
        ]
        assert {future.result(AMPLE) for future in running} == {(added["loops"],)}
        store.close()
    assert shared_redis.run("INFO", "clients")["connected_clients"] <= 4


def test_uvloop_is_an_event_loop_like_any_other(shared_redis: RedisServer) -> None:
    import uvloop

    store = RedisStore(shared_redis.url, timeout=AMPLE)
    twin = store.on_loop()

    async def use() -> None:
        added = await twin.add_tokens({"uv": mint()}, 60)
        await twin.write_page(slot(), page(b"x" * 300_000), 60)
        found = await asyncio.gather(*(twin.read(slot(), ("uv",)) for _ in range(100)))
        assert {reading.tokens for reading in found} == {(added["uv"],)}
        assert all(reading.page is not None for reading in found)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())
    store.close()


def test_a_store_may_be_closed_twice_and_on_a_running_loop(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE)
    step(store.read(None, ("a",)))

    async def use() -> None:
        await store.on_loop().read(None, ("a",))
        store.close()
        store.close()

    asyncio.run(use())
    store.close()
    assert store.statistics()["failures"] == 0


def test_a_loop_that_rests_is_closed_as_well(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.on_loop().read(None, ("a",)))
    store.close()
    loop.close()


URLS = [
    ("redis://h", "h:6379/0", None, None),
    ("redis://h:1/2?timeout=1s&pool=3", "h:1/2", None, None),
    ("redis://[::1]:7/0", "[::1]:7/0", None, None),
    ("redis://[::1]", "[::1]:6379/0", None, None),
    ("redis://u:p%40@H:1", "h:1/0", "u", "p@"),
    ("redis://:p@h:1/", "h:1/0", None, "p"),
    ("redis+unix:///run/r.sock?db=4", "/run/r.sock/4", None, None),
    ("redis+unix://u:p@/run/r.sock", "/run/r.sock/0", "u", "p"),
    ("redis+unix://r.sock", "/base/r.sock/0", None, None),
]


@pytest.mark.parametrize(("url", "name", "user", "password"), URLS)
def test_a_url_names_a_server(url: str, name: str, user: str | None, password: str | None) -> None:
    server = parse_server(url, directory=Path("/base"))
    assert (server.name, server.user, server.password) == (name, user, password)


@pytest.mark.parametrize(
    "url",
    [
        "redis://", "redis://:6379", "redis://h:x", "redis://h:0", "redis://h:70000",
        "redis://h:1/x", "redis://h:1/-1", "redis://[::1", "redis://::1", "redis://h?nope=1",
        "redis://h?pool=0", "redis://h?pool=1001", "redis://h?timeout=0s", "redis://h?timeout=x",
        "redis://h?pool=2&pool=3", "redis://h?ca=x", "rediss://h?ca=/nowhere", "redis+unix://",
        "redis://u:hushed@", "redis://u:hush?ed@h:1", "redis://u:hushed/@h:x", "redis://u:hush#ed@h:x",
        "redis://u:hushed@h?nope=1", "redis://u:hushed@h?pool=x", "valkey://u:hushed@h",
        "redis://u:hushed@h?pool=1&pool=2",
    ],
)  # fmt: skip
def test_a_url_that_is_wrong_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_server(url)
    assert refused.value.field == "store"
    assert "hush" not in str(refused.value)


def test_the_options_of_a_url_come_before_the_defaults() -> None:
    server = parse_server("redis://h?timeout=80ms", timeout=1.0, pool=7)
    assert (server.timeout, server.pool) == (0.08, 7)
    store = RedisStore.from_url("redis://h?pool=2", site="a", site_key="", directory=None)
    assert "h:6379/0" in repr(store)
