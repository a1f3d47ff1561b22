"""A database, a cache and what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagegen import PageCache, Rule
from pagegen.verdicts import Invalidation
from tests.contrib.outbox.databases import Place, make
from tests.databases import Postgresql

RULES = [
    Rule(
        path="/items/{id}", share="public", namespaces=["item:{id}"], ttl="1h", soft=True, swr="1m"
    )
]


class Cache(PageCache):
    """Remembers what was forgotten, and how."""

    def __init__(self) -> None:
        super().__init__(RULES, site_key="a key of these tests")
        self.told: list[tuple[tuple[str, ...], bool]] = []

    def invalidate(self, *names: str, soft: bool = False) -> Invalidation:
        done = super().invalidate(*names, soft=soft)
        self.told.append((names, soft))
        return done

    async def ainvalidate(self, *names: str, soft: bool = False) -> Invalidation:
        done = await super().ainvalidate(*names, soft=soft)
        self.told.append((names, soft))
        return done


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgresql: Postgresql) -> Place:
    return make(request.param, tmp_path, postgresql)


@pytest.fixture
def cache() -> Iterator[Cache]:
    made = Cache()
    yield made
    made.close()


def break_store(cache: PageCache, monkeypatch: pytest.MonkeyPatch, *bad: str) -> None:
    """From now on the store acknowledges nothing, or nothing that holds one of these names."""
    real = type(cache.engine.store).replace_tokens

    async def refuse(store: object, tokens: dict[str, bytes], ttl: float) -> None:
        if not bad or not tokens.keys().isdisjoint(bad):
            raise ConnectionError("the store is gone")
        await real(store, tokens, ttl)  # type: ignore[arg-type]

    monkeypatch.setattr(type(cache.engine.store), "replace_tokens", refuse)
