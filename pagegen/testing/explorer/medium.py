"""The store that all processes of a world share, what befalls it, and each process's face of it.

A verb through :class:`Face` is one step: others act before it or after it, not within. With
``pieces`` it is one for each page and token that it is about, in any order, as where several
servers hold them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ...errors import StoreError
from ...messages import StoredResponse
from ...stores import MemoryStore, Store
from ...stores.base import Capabilities, Leases, Reading
from .history import History
from .run import EVERYTHING, GoneError, Run, point, until

if TYPE_CHECKING:
    from .process import Process

T = TypeVar("T")
Verb = Callable[[], Awaitable[T]]

_SHARED = Capabilities(
    blocking_reads=False, blocking_writes=False, shared=True, compare_and_set=True, leases=True
)


class Medium:
    """A store with what can befall it. Faults need a :class:`MemoryStore`, whose insides they know.

    ``label`` stands behind every token that is read, as a server's identity does (Redis): a new one
    comes with every :meth:`fail_over` and :meth:`restart`.
    """

    def __init__(self, run: Run, history: History, store: Store, *, labelled: bool = False) -> None:
        self.store = store
        self._run = run
        self._history = history
        self._labels = 1 if labelled else 0
        self._copy: tuple[list[Any], list[Any]] | None = None

    @property
    def label(self) -> bytes:
        """What stands behind tokens."""
        return b"/%d" % self._labels if self._labels else b""

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        self._run.reads(slot, *namespaces)
        page, tokens = await self.store.read(slot, namespaces)
        seen = self._seen(namespaces, tokens)
        if self._run.recording:
            self._run.note(f"read {self._shown(slot, page)}{self._named(namespaces, seen)}")
        return Reading(page, seen)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        self._run.writes(*tokens)
        kept = await self.store.add_tokens(tokens, ttl)
        seen = dict(zip(kept, self._seen(tuple(kept), tuple(kept.values())), strict=True))
        if self._run.recording:
            self._run.note(f"add tokens:{self._named(tuple(seen), tuple(seen.values()))}")
        return cast("Mapping[str, bytes]", seen)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        self._run.writes(*tokens)
        await self.store.replace_tokens(tokens, ttl)
        seen = self._seen(tuple(tokens), (await self.store.read(None, tuple(tokens))).tokens)
        if self._run.recording:
            self._run.note(f"REPLACE tokens:{self._named(tuple(tokens), seen)}")

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`. What has another label by now is no more there."""
        self._run.writes(*tokens)
        cut = len(self.label)
        sure = {n: t[: len(t) - cut] for n, t in tokens.items() if t.endswith(self.label)}
        gone = await self.store.remove_tokens(sure)
        self._run.note(f"remove {', '.join(gone) or 'nothing'}")
        return gone

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        self._run.writes(slot)
        kept = await self.store.write_page(slot, page, ttl)
        if self._run.recording:
            self._run.note(f"write {self._shown(slot, page)}" + ("" if kept else ": no room"))
        return kept

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        self._run.writes(slot)
        await self.store.delete_page(slot)
        self._run.note("delete page")

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        self._run.writes(("lease", slot))
        got = await cast("Leases", self.store).acquire(slot, owner, term)
        self._run.note(f"{'take' if got else 'is refused'} the lease for {term:g} s")
        return got

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        self._run.writes(("lease", slot))
        await cast("Leases", self.store).release(slot, owner)
        self._run.note("give the lease back")

    def evict_token(self, name: str) -> None:
        """A token is gone."""
        self._run.writes(name)
        self._memory()._tokens.discard(name)
        self._run.note(f"evict the token of {name}")

    def evict_pages(self) -> None:
        """All pages are gone."""
        pages = self._memory()._pages
        for slot, _, _ in pages.items():
            self._run.writes(slot)
            pages.discard(slot)
        self._run.note("evict all pages")

    def restart(self) -> None:
        """The server begins anew, empty."""
        self._everything_changes()
        store: Any = self._memory()
        for shelf in (store._pages, store._tokens):
            for key, _, _ in shelf.items():
                shelf.discard(key)
        store._leases.clear()
        self._run.note("the store restarts, empty")

    def copy(self) -> None:
        """Remember what there is, as a replica or a snapshot does."""
        self._copy = self._memory()._pages.items(), self._memory()._tokens.items()
        self._run.writes(EVERYTHING)
        self._run.note("a replica has what is there now, and hears no more")

    def fail_over(self) -> None:
        """The copy takes the place of the store; what came later is lost."""
        pages, tokens = self._copy or ([], [])
        self.restart()
        store = self._memory()
        for slot, page, expires in pages:
            store._pages.put(slot, page, expires)
        for name, token, expires in tokens:
            store._tokens.put(name, token, 1000, expires)
        self._run.note("the replica becomes the store")

    def _everything_changes(self) -> None:
        if self._labels:
            self._labels += 1
        self._run.writes(EVERYTHING)

    def _memory(self) -> MemoryStore:
        if not isinstance(self.store, MemoryStore):
            raise TypeError("only a MemoryStore can be maltreated from here")
        return self.store

    def _seen(
        self, names: Sequence[str], tokens: Sequence[bytes | None]
    ) -> tuple[bytes | None, ...]:
        """Tokens as readers see them; the history hears of each."""
        label, known = self.label, self._history
        seen = tuple([token if token is None else token + label for token in tokens])
        for name, token in zip(names, seen, strict=True):
            if token is not None:
                known.token(name, token)
        return seen

    def _named(self, names: Sequence[str], tokens: Sequence[bytes | None]) -> str:
        known = self._history
        return "".join(
            f" {name}={'none' if token is None else f'T{known.token(name, token)}'}"
            for name, token in zip(names, tokens, strict=True)
        )

    def _shown(self, slot: bytes | None, page: StoredResponse | None) -> str:
        if slot is None:
            return "tokens"
        if page is None:
            return "no page,"
        if page.status == 0:
            return "marker,"
        generation = self._named(page.namespaces, page.generation)
        return f"page #{page.body.decode('latin-1')} [{generation.strip()}],"


class Face:
    """A shared store as one process sees it: every verb is a step, and fails while it is cut off.

    Cut off, a verb that writes is not heard, is heard without an answer, or is heard later, when
    nobody waits for it any more. With ``replies`` an answer takes a step of its own to come back.
    """

    capabilities = _SHARED

    def __init__(
        self, process: Process, medium: Medium, *, pieces: bool = False, replies: bool = False
    ) -> None:
        self._process = process
        self._medium = medium
        self._pieces = pieces
        self._replies = replies
        self._run = process.world.run

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        medium, pieces = self._medium, len(namespaces) + (slot is not None)
        if not self._pieces or pieces < 2:
            return await self._ask("read", lambda: medium.read(slot, namespaces))
        works = [partial(medium.read, None, (name,)) for name in namespaces]
        if slot is not None:
            works.append(partial(medium.read, slot, ()))
        found = await self._together("read", works)
        page = found[-1].page if slot is not None else None
        return Reading(page, tuple(found[at].tokens[0] for at in range(len(namespaces))))

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        medium = self._medium
        if not self._pieces or len(tokens) < 2:
            return await self._tell("add tokens", lambda: medium.add_tokens(tokens, ttl))
        works = [partial(medium.add_tokens, {name: tokens[name]}, ttl) for name in tokens]
        found = await self._together("add tokens", works)
        return {name: token for one in found for name, token in one.items()}

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        medium = self._medium
        if not self._pieces or len(tokens) < 2:
            await self._tell("replace tokens", lambda: medium.replace_tokens(tokens, ttl))
            return
        works = [partial(medium.replace_tokens, {name: tokens[name]}, ttl) for name in tokens]
        await self._together("replace tokens", works)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`."""
        return await self._tell("remove tokens", lambda: self._medium.remove_tokens(tokens))

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        return await self._tell("write page", lambda: self._medium.write_page(slot, page, ttl))

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        await self._tell("delete page", lambda: self._medium.delete_page(slot))

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        return await self._tell("take lease", lambda: self._medium.acquire(slot, owner, term))

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        await self._tell("give lease back", lambda: self._medium.release(slot, owner))

    def statistics(self) -> Mapping[str, int]:
        """Nothing is counted."""
        return {}

    def close(self) -> None:
        """Nothing is held open."""

    async def _ask(self, label: str, verb: Verb[T]) -> T:
        if self._run.over:
            raise GoneError
        await point(label)
        if self._process.is_cut:
            self._run.note(f"{label}: the store is silent")
            raise StoreError("the store is silent")
        return await self._heard(label, await verb())

    async def _tell(self, label: str, verb: Verb[T]) -> T:
        if self._run.over:
            raise GoneError
        await point(label)
        return await self._heard(label, await self._act(label, verb))

    async def _heard(self, label: str, answer: T) -> T:
        if self._replies:
            await point(f"{label}: the answer")
        return answer

    async def _act(self, label: str, verb: Verb[T]) -> T:
        if not self._process.is_cut:
            return await verb()
        heard = self._run.choose(3)
        self._run.note(
            f"{label}: no answer" + ("", "; but it was heard", "; it may come late")[heard]
        )
        if heard == 1:
            await verb()
        elif heard == 2:
            name = f"{self._run.current.name if self._run.current else ''}+{self._run.steps}"
            self._run.spawn(name, _late(verb), optional=True)
        raise StoreError("the store is silent")

    async def _together(self, label: str, works: Sequence[Verb[T]]) -> list[T]:
        """Each of these as a step of its own, in any order; raises what one of them raises."""
        run, process = self._run, self._process
        if run.over:
            raise GoneError
        name = run.current.name if run.current is not None else ""
        results: list[T | StoreError | None] = [None] * len(works)

        async def one(at: int) -> None:
            try:
                if process.is_cut:
                    raise StoreError("the store is silent")
                results[at] = await works[at]()
            except StoreError as error:
                results[at] = error

        actors = [
            run.spawn(f"{name}/{at}", one(at), home=process, optional=True)
            for at in range(len(works))
        ]
        await until(lambda: not any(actor.live for actor in actors), label)
        for result in results:
            if isinstance(result, StoreError):
                raise result
        return cast("list[T]", results)


class Direct(Face):
    """The same for code that cannot stop in the middle: its verbs are no steps of their own."""

    async def _ask(self, label: str, verb: Verb[T]) -> T:
        if self._process.is_cut:
            raise StoreError("the store is silent")
        return await verb()

    async def _tell(self, label: str, verb: Verb[T]) -> T:
        return await self._act(label, verb)


async def _late(verb: Verb[object]) -> None:
    await verb()
