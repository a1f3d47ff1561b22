"""An invalidation that was owed when a request came, and is paid before its look has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from pagegen import InvalidationError, Rule
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import Reply
from tests.conftest import MakeScenario

RULE = Rule(path="/list", share="public", groups=True, ttl="1h", own_url=False, early=False)


class Late(MemoryStore):
    """Refuses to forget while it is ``deaf``. ``behind`` happens before an answer has come back."""

    deaf = False
    behind: Callable[[], object] | None = None

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        reading = await super().read(slot, namespaces)
        behind, self.behind = self.behind, None
        if behind is not None:
            behind()
        return reading

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        if self.deaf:
            raise OSError("no route to host")
        await super().replace_tokens(tokens, ttl)


def test_a_page_whose_debt_is_paid_behind_the_read_is_not_served(scenario: MakeScenario) -> None:
    """Nobody knows of a late namespace before the page was read, so it is asked for afterwards."""
    store = Late()
    stage = scenario(RULE, store=store)
    rows = ["old"]
    stage.handler = lambda seen: Reply(rows[0].encode(), fields=[("Cache-Groups", '"item:1"')])
    assert [stage.get("/list").text for _ in range(2)] == ["old", "old"]
    rows[0] = "new"
    store.deaf = True
    with pytest.raises(InvalidationError):
        stage.cache.invalidate("item:1")

    def pay() -> None:
        store.deaf = False
        stage.cache.engine._state.owed._try()
        assert not stage.cache.engine._state.owed.names

    store.behind = pay
    assert stage.get("/list").text == "new"
    assert [stage.get("/list").text for _ in range(2)] == ["new", "new"]
