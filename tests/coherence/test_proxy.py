"""The proxy misbehaves as it is told, so that the storms behind it are what they are said to be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from pagegen.testing.check.network import Remote, proxied

#: Seconds for what must arrive, and for what must not.
SOON = 10.0
A_WHILE = 0.1


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of a server that sends everything back."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk(connection: socket.socket) -> None:
            with connection:
                try:
                    while piece := connection.recv(65_536):
                        connection.sendall(piece)
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(SOON)


@pytest.fixture(scope="module")
def remote(echo: int) -> Iterator[Remote]:
    with proxied(echo) as made:
        yield made


@pytest.fixture
def proxy(remote: Remote) -> Remote:
    remote.change("pass")
    return remote


@pytest.fixture
def connection(proxy: Remote) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), SOON) as made:
        assert echoed(made, b"hello")
        yield made


def echoed(connection: socket.socket, data: bytes, patience: float = SOON) -> bool:
    connection.sendall(data)
    return received(connection, len(data), patience) == data


def received(connection: socket.socket, size: int, patience: float = SOON) -> bytes:
    """What arrives within the patience, at most ``size`` bytes."""
    connection.settimeout(patience)
    data = b""
    try:
        while len(data) < size and (piece := connection.recv(size - len(data))):
            data += piece
    except TimeoutError:
        pass
    return data


@pytest.mark.parametrize("mode", ["drop", "deaf"])
def test_what_is_lost_is_lost_for_the_whole_connection(
    proxy: Remote, connection: socket.socket, mode: str
) -> None:
    proxy.change(mode)  # type: ignore[arg-type]
    assert not echoed(connection, b"lost", A_WHILE)
    proxy.change("pass")
    assert not echoed(connection, b"lost as well", A_WHILE)
    with socket.create_connection(("127.0.0.1", proxy.port), SOON) as other:
        assert echoed(other, b"hello")


def test_what_is_held_arrives_later(proxy: Remote, connection: socket.socket) -> None:
    proxy.change("hold")
    assert not echoed(connection, b"held", A_WHILE)
    proxy.change("pass")
    assert received(connection, 4) == b"held"


def test_what_is_late_arrives_whole(proxy: Remote, connection: socket.socket) -> None:
    proxy.change("delay")
    assert echoed(connection, b"late" * 50_000)


def test_a_reply_ends_in_its_middle(proxy: Remote, connection: socket.socket) -> None:
    proxy.change("truncate")
    connection.sendall(b"12345678")
    assert received(connection, 8) == b"1234"


def test_nobody_listens_and_connections_are_reset(proxy: Remote, connection: socket.socket) -> None:
    proxy.change("refuse")
    with pytest.raises(OSError, match=r"reset|refused"):
        connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), SOON)
    proxy.change("pass")
    with socket.create_connection(("127.0.0.1", proxy.port), SOON) as other:
        assert echoed(other, b"hello")


def test_rubbish_is_no_echo(proxy: Remote, connection: socket.socket) -> None:
    proxy.change("rubbish")
    for talker in (connection, socket.create_connection(("127.0.0.1", proxy.port), SOON)):
        with talker:
            talker.sendall(b"12345678")
            assert received(talker, 3) not in (b"", b"123")
