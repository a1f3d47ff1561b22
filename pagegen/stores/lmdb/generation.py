"""One LMDB environment, from its making to its end: making, opening, reading its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from time import time
from typing import Any, Final

import lmdb

from ...errors import StoreError
from .eviction import Register, Shelf
from .place import About

#: Readers at one time, over all processes; more are misses. LMDB's own 126 is too few for
#: machines with many workers of many threads; a place costs 64 bytes.
MAX_READERS: Final = 1024
#: Share of the map that may be in use. Measured: at 80 % no write of 12,000 found the map full, at
#: 90 % one in a thousand did. The rest is for copies on write and for pages that readers hold.
LIVE_SHARE: Final = 0.8
#: Share of that for tokens, which pages never take (as in the memory store).
TOKEN_SHARE: Final = 0.125
#: One mark for so many bytes of the map, at least and at most so many marks.
_BYTES_PER_MARK: Final = 2048
_FEWEST_MARKS: Final = 2**13
_MOST_MARKS: Final = 2**22
#: Seconds that a generation must have been the truth before anybody uses it, and seconds for which
#: a process believes that its generation still is. See `environment.py`.
SETTLING: Final = 0.03
BELIEVED: Final = 0.01

_TREES: Final = (b"pages", b"index", b"queue", b"tokens", b"leases")

Signature = tuple[int, ...]
#: Where in a signature the generation's own files begin.
_OF_FILES: Final = 4


def _marks(size: int) -> int:
    """Bytes of the marks: half for pages, half for tokens."""
    return 2 * max(_FEWEST_MARKS, min(_MOST_MARKS, size // _BYTES_PER_MARK))


def _open(folder: Path, size: int) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=size,
        max_dbs=len(_TREES),
        max_readers=MAX_READERS,
        # What a crash of the machine may tear is never opened again; a crash of a process tears
        # nothing, as the kernel has all writes.
        sync=False,
        metasync=False,
        readahead=False,
        writemap=False,
        create=False,
        mode=0o600,
        # A reader that keeps its place in the table takes no lock when it begins: LMDB's lock of
        # that table waits for ever when its holder is stopped.
        max_spare_txns=1,
    )


def make(place: Path, name: str, size: int) -> None:
    """Make the files of a generation. Raises ``OSError`` or ``lmdb.Error``."""
    folder = place / name
    folder.mkdir(mode=0o700)
    environment = _open(folder, size)
    for tree in _TREES:
        environment.open_db(tree)
    environment.close()
    # At its whole size from the start (with holes): a shorter file was cut by somebody, and a
    # missing page would otherwise end the process that reads it (SIGBUS).
    os.truncate(folder / "data.mdb", size)
    marks = os.open(folder / "marks", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.truncate(marks, _marks(size))
    finally:
        os.close(marks)
    _fill(folder / "marks")
    _fill(folder / "lock.mdb")


def _fill(path: Path) -> None:
    """Give a file that is written through a map all of its room: a hole for which the disk has none
    ends the process that writes there (SIGBUS). Raises ``OSError``. Nobody may have it open:
    closing it here would give up the locks that LMDB has on it.
    """
    found = path.read_bytes()
    with path.open("r+b") as file:
        file.write(found)


def whole(place: Path, about: About) -> bool:
    """Whether all files are there and none was cut. Looked at before anything is mapped."""
    folder = place / about.generation
    with suppress(OSError):
        return (folder / "lock.mdb").is_file() and (
            (folder / "data.mdb").stat().st_size == about.size
            and (folder / "marks").stat().st_size == _marks(about.size)
        )
    return False


def signature(place: Path, name: str) -> Signature:
    """What changes when somebody replaces, removes or cuts one of the files; raises ``OSError``."""
    # Text, for a reader pays for this every few milliseconds, and paths cost more than the looks.
    root = str(place)
    about, lock = os.stat(f"{root}/about"), os.stat(f"{root}/lock")  # noqa: PTH116
    data = os.stat(f"{root}/{name}/data.mdb")  # noqa: PTH116
    marks = os.stat(f"{root}/{name}/marks")  # noqa: PTH116
    return (
        *(about.st_dev, about.st_ino, about.st_mtime_ns, lock.st_ino),
        *(data.st_ino, data.st_size, marks.st_ino, marks.st_size),
    )


def settled(place: Path) -> float:
    """Seconds until the present generation may be used, 0 for at once; raises ``OSError``."""
    age = time() - (place / "about").stat().st_mtime
    return min(SETTLING, max(0.0, SETTLING - age))


class Generation:
    """An opened environment. Closed when nobody holds it any more, never under a reader.

    ``busy`` has an element for each reader that is under way in this process; ``retired`` tells
    readers to keep out; ``seen`` is when it was last known to be the truth (monotonic seconds).
    Whoever makes one holds the gate: LMDB opens its trees as a writer.
    """

    def __init__(self, place: Path, about: About, seen: float) -> None:
        self.about = about
        self.busy: list[None] = []
        self.retired = False
        self.seen = seen
        # Before the opening: whatever changes after it is noticed.
        self.signature = signature(place, about.generation)
        folder = place / about.generation
        self.env = _open(folder, about.size)
        pages, index, queue, tokens, leases = [
            self.env.open_db(tree, create=False) for tree in _TREES
        ]
        descriptor = os.open(folder / "marks", os.O_RDWR)
        try:
            self.marks = mmap(descriptor, _marks(about.size))
        finally:
            os.close(descriptor)
        self.pages, self.index, self.queue = pages, index, queue
        self.tokens, self.leases = tokens, leases
        self.unit = self.env.stat()["psize"]
        live = int(about.size * LIVE_SHARE)
        self.for_tokens = int(live * TOKEN_SHARE)
        self.for_pages = live - self.for_tokens
        self.shelf = Shelf(pages, index, queue, self.marks, self.for_pages, self.unit)
        self.register = Register(tokens, self.marks, self.for_tokens, self.unit)
        self.page_marks = len(self.marks) // 2

    @contextmanager
    def reading(self) -> Iterator[Generation]:
        """Within this block nobody closes the environment. Raises ``StoreError``.

        ``LmdbStore.read`` does the same without this block's price.
        """
        self.busy.append(None)
        try:
            if self.retired:
                raise StoreError("the store is being opened")
            yield self
        finally:
            self.busy.pop()

    def moved(self, place: Path, about: About) -> bool:
        """Whether just ``about`` or ``lock`` were put there anew; then these are as good."""
        found = signature(place, about.generation)
        if about != self.about or found[_OF_FILES:] != self.signature[_OF_FILES:]:
            return False
        self.signature = found
        return True

    def statistics(self) -> dict[str, int]:
        """Sizes (bytes) and counts; raises ``lmdb.Error``."""
        with self.env.begin(buffers=True) as txn:
            pages, ghosts = self.shelf.count(txn)
            numbers: dict[str, Any] = {
                "pages_count": pages,
                "pages_bytes": self.shelf.used(txn),
                "pages_budget": self.for_pages,
                "pages_ghosts": ghosts,
                "tokens_count": txn.stat(self.tokens)["entries"],
                "tokens_bytes": self.register.used(txn),
                "tokens_budget": self.for_tokens,
                "pages_evicted": self.shelf.evicted,
                "tokens_evicted": self.register.evicted,
                "leases_count": txn.stat(self.leases)["entries"],
            }
        info = self.env.info()
        numbers["map_size"] = info["map_size"]
        numbers["map_reached"] = (info["last_pgno"] + 1) * self.unit
        numbers["readers"] = info["num_readers"]
        return numbers
