"""What processes cost the processor, by the kernel's accounting in ``/proc`` (proc(5)).

The kernel writes clock ticks of 10 ms, usually. Over a run of seconds these are hundreds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    parent: int
    seconds: float


def _read(stat: Path) -> _Process | None:
    try:
        text = stat.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # it ended meanwhile
    # The name is in parentheses and may hold any character; counted from behind it, the state is
    # field 0, the parent 1, user and system time are 11 and 12.
    fields = text[text.rindex(")") + 2 :].split()
    return _Process(int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK)


def _all() -> dict[int, _Process]:
    read = ((int(path.parent.name), _read(path)) for path in Path("/proc").glob("[0-9]*/stat"))
    return {pid: process for pid, process in read if process is not None}


def family(roots: Iterable[int], processes: dict[int, _Process]) -> set[int]:
    """These processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    todo = [pid for pid in roots if pid in processes]
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo += [child for child in children.get(pid, ()) if child not in found]
    return found


def seconds(*roots: int) -> float:
    """Seconds of user and system time that these processes and their descendants have had."""
    processes = _all()
    return sum(processes[pid].seconds for pid in family(roots, processes))
