"""Which cores servers and client run on: never the same, where there are two."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of cores; empty ones are not pinned.

    server: the one core of a server with one worker.  spread: those that several workers share.
    client: that of the client, and of the stores' servers.
    """

    server: tuple[int, ...] = ()
    spread: tuple[int, ...] = ()
    client: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """Where what runs, for a reader."""
        if not self.server:
            return "Nothing is pinned: this takes two cores and taskset, of the package util-linux."
        return (
            f"One worker on core {_list(self.server)}; the client, memcached and Redis on core "
            f"{_list(self.client)}; several workers on {_list(self.spread)}."
        )


def _list(cores: tuple[int, ...]) -> str:
    return ", ".join(map(str, cores))


def choose() -> Cores:
    """The first core for a server and the last for the client, of those that we may use."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2 or shutil.which("taskset") is None:
        return Cores()
    return Cores((ours[0],), tuple(ours[:-1]), (ours[-1],))


def pin(cores: tuple[int, ...]) -> tuple[str, ...]:
    """What comes before a command so that it, and all that it starts, stays on these cores."""
    return ("taskset", "--cpu-list", ",".join(map(str, cores))) if cores else ()
