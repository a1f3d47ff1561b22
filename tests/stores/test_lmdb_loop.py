"""The LMDB store on an event loop, and a directory that another process of our number has open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import lmdb
import pytest

from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores import threads
from pagegen.stores.breaker import THRESHOLD
from pagegen.stores.lmdb import LmdbStore, generation
from tests.stores.test_memory import page, slot


def test_no_thread_is_asked_while_nobody_waits_for_a_writer_that_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(tmp_path / "pages", "8MiB")
    twin = store.on_loop()
    hops = []
    submit = threads._workers.submit
    monkeypatch.setattr(threads._workers, "submit", lambda work: (hops.append(1), submit(work))[1])

    async def use() -> None:
        assert await twin.write_page(slot(0), page(), 60)
        assert len(hops) == 1
        gate = store._open().gate
        for _ in range(THRESHOLD):
            gate.breaker.failed()
        with pytest.raises(StoreError, match="nobody waits for it"):
            await twin.write_page(slot(0), page(), 60)
        with pytest.raises(StoreError, match="nobody waits for it"):
            await twin.add_tokens({"a": b"1"}, 60)
        assert len(hops) == 1
        assert (await twin.read(slot(0), ())).page is not None
        await twin.replace_tokens({"a": b"1"}, 60)  # an invalidation is tried all the same
        assert len(hops) == 2
        assert await twin.write_page(slot(0), page(), 60)

    asyncio.run(use())
    store.close()


def test_a_process_of_the_same_number_in_another_container_costs_pages_and_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*_: Any, **__: Any) -> Any:
        raise lmdb.LockError("Resource temporarily unavailable")

    LmdbStore(tmp_path / "pages", "8MiB").close()
    monkeypatch.setattr(generation, "_open", locked)
    store = LmdbStore(tmp_path / "pages", "8MiB")
    assert "let containers share the PID namespace" in caplog.text
    with pytest.raises(StoreError):
        step(store.read(slot(0), ()))
    store.close()
