"""How the cache of a process comes into being, and whom its invalidations outlive."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from pagegen.cache import PageCache
from pagegen.contrib.django import cache, caches, get_cache, transactions
from pagegen.errors import ConfigError
from pagegen.invalidating import Invalidator
from pagegen.testing import PATIENCE
from tests.contrib.django.site import TABLE


@pytest.fixture
def identity(pagegen_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings with an identity whose module has this text; the name of the module."""
    # Its own holder: one that hangs must not hang the tests behind this one.
    monkeypatch.setattr(caches, "_holder", caches._Holder())
    monkeypatch.syspath_prepend(tmp_path)
    names = (f"identity_{tmp_path.name}_{number}" for number in range(9))

    def give(text: str) -> str:
        name = next(names)
        (tmp_path / f"{name}.py").write_text(f"from pagegen.contrib.django import caches\n{text}\n")
        who = {"who": {"from": [f"call:{name}:who"]}}
        rule = {"path": "/x", "share": ["who"], "ttl": "1h"}
        pagegen_settings(PAGEGEN={"identity": who, "rule": [rule]})
        return name

    return give


def test_an_identity_that_asks_for_the_cache_while_it_is_imported_is_told_so(
    identity: Any,
) -> None:
    identity("store = caches.get_cache()\nwho = print")
    said: list[str] = []

    def ask() -> None:
        try:
            get_cache()
        except ConfigError as error:
            said.append(str(error))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for itself"
    assert "get_cache()" in said[0]


def test_nobody_waits_for_the_cache_while_a_module_is_imported_for_it(identity: Any) -> None:
    """Else who imports that module at this moment, and asks, waits for ever."""
    name = identity("locked = caches._holder._lock.locked()\nwho = print")
    assert get_cache().configuration.book.identities
    assert import_module(name).locked is False


class Hop:
    """Names that were forgotten, and a look at transactions that takes until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go = Event(), Event()
        self.forgotten: list[str] = []
        #: Whether an event loop had to wait for it.
        self.blocked = False
        later, replace, forget = transactions.later, Invalidator._replace, PageCache.invalidate

        def slowly(*args: Any, **kwargs: Any) -> Any:
            self.asked.set()
            assert self.go.wait(PATIENCE)
            return later(*args, **kwargs)

        async def note(invalidator: Invalidator, names: Any, *rest: Any) -> None:
            self.forgotten.extend(names)
            await replace(invalidator, names, *rest)

        def invalidate(cache: PageCache, *names: str, soft: bool = False) -> Any:
            self.blocked = True
            return forget(cache, *names, soft=soft)

        monkeypatch.setattr(transactions, "later", slowly)
        monkeypatch.setattr(Invalidator, "_replace", note)
        monkeypatch.setattr(PageCache, "invalidate", invalidate)


@pytest.fixture
def hop(pagegen_settings: Any, monkeypatch: pytest.MonkeyPatch) -> Hop:
    pagegen_settings(PAGEGEN=TABLE)
    return Hop(monkeypatch)


def test_who_is_cancelled_has_forgotten_and_held_nobody_up(hop: Hop) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(cache.ainvalidate("things"))
        assert await asyncio.to_thread(hop.asked.wait, PATIENCE)
        task.cancel()
        # The cancellation has to arrive before the answer does.
        await asyncio.sleep(0)
        hop.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*caches._unfinished)

    asyncio.run(cancelled())
    assert hop.forgotten == ["things"]
    assert not hop.blocked
    assert not caches._unfinished


def test_what_the_end_of_an_event_loop_cuts_off_is_forgotten(hop: Hop) -> None:
    async def over() -> None:
        task = asyncio.create_task(cache.ainvalidate("things"))
        assert await asyncio.to_thread(hop.asked.wait, PATIENCE)
        hop.go.set()
        assert not task.done()

    asyncio.run(over())
    assert "things" in hop.forgotten
