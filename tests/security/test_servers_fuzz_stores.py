"""Store servers that answer with whatever they like: failures that are said, and nothing else.

``PAGEGEN_FUZZ_CONNECTIONS`` asks for more of them (40), ``PAGEGEN_FUZZ_SEED`` for others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from time import monotonic
from typing import Any, Final

import pytest

from pagegen.errors import StoreError
from pagegen.keys import slot
from pagegen.stepping import step
from pagegen.stores import Reading
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from tests.security.fuzz.of_stores import page_of

CONNECTIONS: Final = int(os.environ.get("PAGEGEN_FUZZ_CONNECTIONS", "40"))
SEED: Final = int(os.environ.get("PAGEGEN_FUZZ_SEED", "1"))
#: Seconds that are too many for a verb, even on a machine with much to do.
FOREVER: Final = 10.0

_SLOT: Final = slot(b"a page")
_TOKENS: Final = {"n": b"t" * 24}
VERBS: Final[tuple[Callable[[Any], Awaitable[Any]], ...]] = (
    lambda store: store.read(_SLOT, ("n",)),
    lambda store: store.add_tokens(_TOKENS, 60.0),
    lambda store: store.replace_tokens(_TOKENS, 60.0),
    lambda store: store.remove_tokens(_TOKENS),
    lambda store: store.write_page(_SLOT, page_of(b""), 60.0),
    lambda store: store.delete_page(_SLOT),
    lambda store: store.acquire(_SLOT, b"owner", 5.0),
    lambda store: store.release(_SLOT, b"owner"),
)
#: What answers are made of. "!" in front: the first question gets it, too, by which a server is
#: found fit.
WORDS: Final = {
    "memcached": (
        b"!", b"VALUE ", b"END\r\n", b"STORED\r\n", b"\r\n", b"0 ", b"3\r\nabc\r\n", b"9" * 5000,
        b"STAT item_size_max ", b"SERVER_ERROR x\r\n", b"ERROR\r\n", b"NOT_STORED\r\n", b"-1\r\n",
        b"99999999999 ", b"EXISTS\r\n", b"\xff", b"VA ", b"HD\r\n",
    ),
    "redis": (
        b"!", b"+OK\r\n", b"-ERR x\r\n", b":1\r\n", b"$-1\r\n", b"$3\r\nabc\r\n", b"*2\r\n",
        b"*-1\r\n", b"*1\r\n" * 3000, b"$99999999999\r\n", b"*99999999\r\n", b":x\r\n", b"$x\r\n",
        b"%1\r\n", b"~2\r\n", b"_\r\n", b"\xff", b"-LOADING x\r\n", b"-READONLY x\r\n",
        b"-MOVED 1 h:1\r\n", b"$-5\r\n", b"*-7\r\n", b"-\xff\xfe\r\n", b":" + b"9" * 5000 + b"\r\n",
        b"$31\r\n# R\r\nrole:master\r\nmaster_replid:a\r\n", b"#t\r\n",
    ),
}  # fmt: skip
FIT: Final = {
    "memcached": (b"stats settings", b"STAT item_size_max 1048576\r\nEND\r\n"),
    "redis": (b"server\r\n", b"$29\r\n# Server\r\nrun_id:0123456789\r\n\r\n"),
}


class Liar:
    """Listens on ``port``, and answers each question with ``answer``."""

    def __init__(self, kind: str) -> None:
        self._fit = FIT[kind]
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(link, self.answer), daemon=True).start()

    def _talk(self, link: socket.socket, answer: bytes) -> None:
        asked, fit = self._fit
        with link, suppress(OSError):
            link.settimeout(FOREVER)
            while question := link.recv(65_536):
                honest = asked in question and not answer.startswith(b"!")
                link.sendall(fit if honest else answer.removeprefix(b"!"))

    def close(self) -> None:
        # Closing alone wakes nobody who accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(FOREVER)


@contextmanager
def lying(kind: str) -> Iterator[Liar]:
    liar = Liar(kind)
    try:
        yield liar
    finally:
        liar.close()


def _store(kind: str, port: int) -> Any:
    if kind == "memcached":
        return MemcachedStore.from_url(f"memcached://127.0.0.1:{port}?timeout=40ms", site="s")
    return RedisStore.from_url(f"redis://127.0.0.1:{port}/0?timeout=40ms", site="s")


def _tried(store: Any, verb: Callable[[Any], Awaitable[Any]], on_loop: bool) -> Any:
    """What a verb answers; None where it says that the store failed."""

    async def asked() -> Any:
        return await verb(store.on_loop())

    with suppress(StoreError):
        return asyncio.run(asked()) if on_loop else step(verb(store))  # type: ignore[arg-type]


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "on a loop"])
@pytest.mark.parametrize("kind", WORDS)
def test_a_server_that_answers_with_rubbish_makes_failures_and_no_pages(
    kind: str, on_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(SEED)
    answered = 0
    with lying(kind) as liar:
        for _ in range(CONNECTIONS):
            words = chance.choices(WORDS[kind], k=chance.randint(1, 5))
            liar.answer = b"".join(words)
            store = _store(kind, liar.port)
            for verb in chance.sample(VERBS, 2):
                began = monotonic()
                found = _tried(store, verb, on_loop)
                assert monotonic() - began < FOREVER, liar.answer
                if isinstance(found, Reading):
                    assert found.page is None, liar.answer
                answered += found is not None
            store.close()
    assert answered < CONNECTIONS  # else it was no rubbish
