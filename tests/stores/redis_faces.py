"""Both faces of a Redis store as plain functions, so that one test tries both."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from secrets import token_bytes
from typing import Any, TypeVar

import pytest

from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import Reading
from pagegen.stores.redis import RedisStore
from pagegen.testing import Loop

T = TypeVar("T")

#: Seconds: enough for a noisy machine where a test is not about time.
AMPLE = 10.0
BOTH_FACES = pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])


class Face:
    """One store, its verbs called on one face."""

    def __init__(self, store: RedisStore, loop: Loop | None) -> None:
        self.store = store
        self.loop = loop
        self.verbs = store.on_loop() if loop else store

    def run(self, verb: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        coroutine = verb(self.verbs)
        return self.loop.run(coroutine) if self.loop else step(coroutine)

    def read(self, slot: bytes | None, *names: str) -> Reading:
        return self.run(lambda verbs: verbs.read(slot, names))

    def tokens(self, *names: str) -> tuple[bytes | None, ...]:
        return self.read(None, *names).tokens

    def add(self, **tokens: bytes) -> Mapping[str, bytes]:
        return self.run(lambda verbs: verbs.add_tokens(tokens, 600))

    def replace(self, **tokens: bytes) -> None:
        self.run(lambda verbs: verbs.replace_tokens(tokens, 600))

    def write(self, slot: bytes, page: StoredResponse, ttl: float = 600) -> bool:
        return self.run(lambda verbs: verbs.write_page(slot, page, ttl))

    def count(self, name: str) -> int:
        return self.store.statistics()[name]


@contextmanager
def opened(url: str, *, on_loop: bool, timeout: float = AMPLE, **options: Any) -> Iterator[Face]:
    """A store with one of its faces; closed at the end, and its event loop after it."""
    store = RedisStore(url, timeout=timeout, **options)
    loop = Loop() if on_loop else None
    try:
        yield Face(store, loop)
    finally:
        store.close()
        if loop:
            loop.close()


def page(body: bytes = b"x", generation: tuple[bytes, ...] = (b"t" * 24,)) -> StoredResponse:
    return StoredResponse(
        b"key", ("ns",), generation, 200, "200 OK", body, None, None, 0.0, 0.0, 1e12, 0.0,
        (("Content-Type", "text/plain"),), ((b"content-type", b"text/plain"),), (), (),
    )  # fmt: skip


def slot(number: int = 0) -> bytes:
    return number.to_bytes(20, "big")


def mint() -> bytes:
    return token_bytes(16)


def served(reading: Reading) -> StoredResponse | None:
    """The page, when its generation is what the tokens are now: what the engine serves."""
    page = reading.page
    return page if page is not None and page.generation == reading.tokens else None
