"""What stands in an LMDB directory that others may have written to."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, Final

from pagegen.errors import StoreError
from pagegen.keys import slot
from pagegen.stepping import step
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.lmdb.place import About, file_system

from .of_stores import page_of, told
from .targets import Reader, holds, target, text

_SLOT: Final = slot(b"a page")
_OWNER: Final = b"owner"


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pagegen-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _store() -> LmdbStore:
    store = LmdbStore(
        _folder() / "store", "4MiB", now=lambda: 1000.0, clock=lambda: 1000.0, timeout=5
    )
    atexit.register(store.close)
    return store


def _current() -> Any:
    """The generation in use. Where the last input damaged it, a new one begins with a write."""
    for _ in range(9):
        # A second one within a second would wait that long.
        _store()._open()._beginning._replaced_at = -inf
        _store()._open()._retry_at = 0.0
        with suppress(StoreError):
            step(_store().replace_tokens({"other": b"t" * 24}, 60.0))
            return _store()._open().current()
    raise StoreError("the store does not come back")


def _plant(tree: str, name: bytes, record: bytes) -> None:
    """Write a record past the store, as who may write to its files can."""
    generation = _current()
    with generation.env.begin(write=True) as txn:
        txn.put(name, record, db=getattr(generation, tree))


def _tried(verb: Callable[..., Awaitable[Any]], *given: Any) -> Any:
    """What a verb answers; None where it says that the store failed."""
    with suppress(StoreError):
        return step(verb(*given))  # type: ignore[arg-type]


@target(
    "\x00" * 8, "\xff" * 8, "\x7f\xf8\x00\x00", "PGN\x02C", "\x00\x00\x00\x00\x00@\x8f@",
    length=200,
)  # fmt: skip
def lmdb_records(data: bytes) -> None:
    """Records that somebody planted: misses, or a failure that the store says."""
    reader = Reader(data)
    record, tree = reader.some(64), reader.number(5)
    store = _store()
    names = store._names
    if tree == 0:
        _plant("pages", names.page(_SLOT), record)
    elif tree == 1:
        _plant("tokens", names.token("n"), record)
    elif tree == 2:
        _plant("leases", names.lease(_SLOT), record)
    elif tree == 3:
        _plant("index", names.page(_SLOT), record)
    else:
        _plant("index", b"state", record)
    found = _tried(store.read, _SLOT, ("n",))
    holds(found is None or found.page is None or tree != 0, "a planted page", record)
    _tried(store.acquire, _SLOT, _OWNER, 5.0)
    _tried(store.release, _SLOT, _OWNER)
    _tried(store.add_tokens, {"n": b"t" * 24}, 60.0)
    _tried(store.remove_tokens, {"n": b"t" * 24})
    page = page_of(reader.rest)
    if _tried(store.write_page, _SLOT, page, 60.0):
        read = _tried(store.read, _SLOT, ())
        holds(read is None or read.page is None or told(read.page) == told(page), "another", record)
    _tried(store.replace_tokens, {"n": b"u" * 24}, 60.0)
    read = _tried(store.read, None, ("n",))
    holds(read is None or read.tokens in ((None,), (b"u" * 24,)), "another token", record)
    _tried(store.delete_page, _SLOT)
    generation = _current()
    with generation.env.begin(write=True) as txn:
        for planted in (generation.pages, generation.index, generation.queue, generation.leases):
            txn.drop(planted, delete=False)


@target("pagegen-lmdb 1\n", "\n", "0123456789abcdef", "4194304", "\xff", length=600)
def lmdb_about(data: bytes) -> None:
    """The file that says which generation is in use: read whole, or refused."""
    place = _folder() / "about-only"
    place.mkdir(exist_ok=True)
    (place / "about").write_bytes(data)
    try:
        found = About.read(place)
    except ValueError:
        return
    if found is None or found.format != 1:
        return
    holds(found.generation.isalnum() and len(found.generation) == 16, "another folder", data)


@target(
    "36 35 98:0 / / rw - ext4 x rw\n", "36 35 98:0 / /mnt rw - nfs x rw\n", " - ", "\\040", "/",
    " ",
)  # fmt: skip
def mounts(data: bytes) -> None:
    """The kernel's table of mounts, whatever its paths are called."""
    said = text(data)
    kind = file_system(Path("/mnt/data"), said)
    holds(" " not in kind, "a kind", kind)
    if not {"//", "/ ", "/."} & {said[n : n + 2] for n in range(len(said))} and "\\" not in said:
        over = f"{said}\n1 2 3 4 /mnt/data rw - nfs4 x rw"
        holds(file_system(Path("/mnt/data"), over) == "nfs4", "what lies over it", said)
