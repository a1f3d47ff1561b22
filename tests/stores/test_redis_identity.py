"""A server that comes back with older data brings no page back: restarts, failovers, demotions.

In each of these tests the *stored* token is the old one again, byte for byte. The page is a miss
all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pagegen.errors import StoreError
from pagegen.stores.names import Names
from pagegen.stores.redis.identity import MAX_REMEMBERED, Identity
from pagegen.stores.redis.packets import Demoted, Garbled
from tests.stores.redis_faces import BOTH_FACES, Face, mint, opened, page, served, slot
from tests.stores.redis_servers import (
    Actor,
    Command,
    RedisServer,
    Switch,
    array,
    eventually,
    replication_info,
)

KEY = Names("default").token("list")


@pytest.fixture
def replica() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def fill(face: Face, token: bytes) -> None:
    """A page under a token that the store has from now on."""
    added = face.add(list=token)
    assert face.write(slot(), page(b"old", (added["list"],)))
    assert served(face.read(slot(), "list")) is not None


def until_it_answers(face: Face) -> None:
    def answers() -> bool:
        try:
            face.tokens("list")
        except StoreError:
            return False
        return True

    eventually(answers, "the store does not come back")


@BOTH_FACES
def test_a_restart_that_loads_an_old_snapshot_serves_no_old_page(
    on_loop: bool, redis_server: RedisServer
) -> None:
    with opened(redis_server.url, on_loop=on_loop) as face:
        old = mint()
        fill(face, old)
        redis_server.run("SAVE")
        face.replace(list=mint())
        redis_server.restart()
        assert redis_server.run("GET", KEY) == old
        found = face.read(slot(), "list")
        assert found.page is not None
        assert served(found) is None
        assert face.count("identity_changes") == 1
        assert face.count("failures") == 0


@BOTH_FACES
def test_a_failover_that_lost_an_invalidation_serves_no_old_page(
    on_loop: bool, redis_server: RedisServer, replica: RedisServer
) -> None:
    old = mint()
    with Switch(redis_server.port) as replication, Switch(redis_server.port) as address:
        replica.follow(replication.port)
        with opened(address.url, on_loop=on_loop) as face:
            fill(face, old)
            eventually(lambda: replica.run("DBSIZE") == 2, "the replica has not everything")
            replication.turn(None)
            face.replace(list=mint())
            replica.promote()
            address.turn(replica.port)
            assert replica.run("GET", KEY) == old
            until_it_answers(face)
            found = face.read(slot(), "list")
            assert found.page is not None
            assert served(found) is None


@BOTH_FACES
def test_a_replica_is_not_believed_and_its_connections_are_left(
    on_loop: bool, redis_server: RedisServer, replica: RedisServer
) -> None:
    with Switch(replica.port) as address, opened(address.url, on_loop=on_loop) as face:
        fill(face, mint())
        # The same process, the same connection, and somebody else's data from now on.
        replica.follow(redis_server.port)
        accepted = address.accepted
        for verb in (
            lambda: face.read(slot(), "list"),
            lambda: face.add(list=mint()),
            lambda: face.replace(list=mint()),
            lambda: face.write(slot(), page()),
        ):
            with pytest.raises(StoreError, match=r"primary|replica|left alone"):
                verb()
        assert address.accepted > accepted
        address.turn(redis_server.port)
        until_it_answers(face)


@BOTH_FACES
def test_one_process_that_was_a_replica_meanwhile_is_another_server(
    on_loop: bool, redis_server: RedisServer, replica: RedisServer
) -> None:
    old = mint()
    with opened(redis_server.url, on_loop=on_loop) as face:
        replica.follow(redis_server.port)
        fill(face, old)
        eventually(lambda: replica.run("DBSIZE") == 2, "the replica has not everything")
        # It has the old token, and no word of what comes next.
        replica.promote()
        face.replace(list=mint())
        redis_server.follow(replica.port)
        redis_server.promote()
        assert redis_server.run("GET", KEY) == old
        assert served(face.read(slot(), "list")) is None
        assert face.count("identity_changes") == 1


@BOTH_FACES
@pytest.mark.parametrize("after", [1, 2])
def test_an_identity_never_stands_on_the_data_of_a_later_one(on_loop: bool, after: int) -> None:
    # The failover comes between two commands of one packet: the new primary has the old token
    # again, which was replaced under the old identity.
    heard = 0
    changes = False

    def answer(command: Command) -> bytes:
        nonlocal heard
        heard += changes
        is_new = changes and heard > after
        if command[0] == b"INFO":
            return replication_info(b"b" * 40 if is_new else b"a" * 40)
        return array(b"old" if is_new or not changes else b"new")

    with Actor(answer) as server, opened(server.url, on_loop=on_loop) as face:
        (generation,) = face.tokens("list")
        changes = True
        assert face.tokens("list") != (generation,)


@BOTH_FACES
def test_an_older_connection_gives_way_to_the_newest(
    on_loop: bool, redis_server: RedisServer, replica: RedisServer
) -> None:
    with Switch(redis_server.port) as address, opened(address.url, on_loop=on_loop) as face:
        fill(face, mint())
        # The address leads elsewhere from now on; the old connection stays, and so does its server.
        address.target = replica.port
        with opened(address.url, on_loop=on_loop) as other:
            other.tokens("list")
            face.store._gate.identity.process = other.store._gate.identity.process
        assert face.tokens("list") == (None,)
        assert face.count("stale_connections") == 1


def test_the_change_of_a_server_is_told_once(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with opened(redis_server.url, on_loop=False) as face:
        face.tokens("list")
        redis_server.restart()
        for _ in range(5):
            face.tokens("list")
    assert caplog.text.count("is another one than before") == 1


def info(**fields: str) -> bytes:
    return "\r\n".join(["# X", *(f"{name}:{value}" for name, value in fields.items()), ""]).encode()


def test_run_id_and_replication_id_both_count() -> None:
    identity = Identity("here")
    labels = {
        identity.label(process, info(role="master", master_replid=history))
        for process in (b"1", b"2")
        for history in ("a", "b")
    }
    assert len(labels) == 4
    assert {len(label) for label in labels} == {8}
    again = Identity("there").label(b"1", info(role="master", master_replid="a"))
    assert again in labels  # the same in every process that uses the server


def test_what_is_remembered_of_servers_is_bounded() -> None:
    identity = Identity("here")
    for number in range(3 * MAX_REMEMBERED):
        identity.label(b"1", info(role="master", master_replid=str(number)))
    assert len(identity._labels) <= MAX_REMEMBERED


@pytest.mark.parametrize("role", ["slave", "replica", "sentinel", "primary?"])
def test_only_a_primary_is_believed(role: str) -> None:
    with pytest.raises(Demoted):
        Identity("here").label(b"1", info(role=role, master_replid="a"))


@pytest.mark.parametrize(
    "reply", [b"", None, 7, [b"role:master"], b"\r\nrole:\r\n", info(role="master")]
)
def test_a_server_that_does_not_tell_who_it_is_is_not_believed(reply: object) -> None:
    with pytest.raises(Garbled):
        Identity("here").label(b"1", reply)
