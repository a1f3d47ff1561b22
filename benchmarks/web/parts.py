"""The parts of the benchmark, and which subjects each of them measures together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from .groups import Group
from .subjects import SERVERS, UVICORN, Subject, all_of, floors, pagegens

#: Sizes of the page in kB besides 10, and who has them besides the floor.
SIZES: Final = (1, 100)
_OF_SIZES: Final = ("pagegen, memory", "pagegen, LMDB + near")
WORKERS: Final = (1, 2, 4)
_OF_WORKERS: Final = ("pagegen, LMDB + near", "pagegen, memcached + near")

NAMES: Final = (*(server.name for server in SERVERS), "sizes", "workers")
#: What a glance has unless it is told.
GLANCE: Final = tuple(server.name for server in SERVERS)


def groups(names: Sequence[str], words: Sequence[str]) -> Iterator[Group]:
    """The groups of these parts; of each, the floor and the subjects with one of these words.

    No words are all subjects.
    """
    for server in SERVERS:
        if server.name in names:
            yield Group(server.name, server, _with(words, all_of(server)))
    for server in SERVERS if "sizes" in names else ():
        for size in SIZES:
            floor, *_ = floors(server.kind)
            few = (each for each in pagegens(server.kind) if each.name in _OF_SIZES)
            yield Group("sizes", server, _with(words, (floor, *few)), size)
    if "workers" in names:
        yield Group("workers", UVICORN, _with(words, list(_workers())))


def _workers() -> Iterator[Subject]:
    floor, *_ = floors(UVICORN.kind)
    ours = [each for each in pagegens(UVICORN.kind) if each.name in _OF_WORKERS]
    for number in WORKERS:
        for subject in (floor, *ours):
            several = f", {number} workers" if number > 1 else ""
            yield replace(subject, name=f"{subject.name}{several}", workers=number)


def _with(words: Sequence[str], subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    floor, *others = subjects
    chosen = (
        each
        for each in others
        if not words or any(word.lower() in each.name.lower() for word in words)
    )
    return (floor, *chosen)
