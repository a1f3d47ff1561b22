"""``python -m benchmarks.peers.forgetting.cell TARGET STORE PAGES``: one figure.

Fills a cache, proves that the pages are stored, forgets those of one user on the clock, and proves
that these are rendered anew and no others. Says so in lines of JSON as it goes: ``filled``,
``forgot``, ``proven`` with the ``seconds``, and so once more or ``done``; or ``missing`` or
``failed`` with the reason. Who started it sets the deadlines: a peer may hold its process, or the
server, for minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import Final

from ..prove import ProofError, loaded
from . import OURS, THEIRS, USERS, Group

#: Times that a group is filled and forgotten at most, and seconds after which it is not once more.
ROUNDS: Final = 5
ENOUGH: Final = 5.0
#: Pages of each user that are visited for the proof.
SAMPLE: Final = 5


def say(stage: str, **more: object) -> None:
    """One line to whoever waits for it."""
    print(json.dumps({"stage": stage, **more}), flush=True)


def _rendered(group: Group, user: int, pages: int) -> int:
    """How many of a sample of a user's pages have to be rendered."""
    before = group.rendered
    numbers = _sample(pages)
    for number in numbers:
        group.visit(user, number)
    return group.rendered - before


def _sample(pages: int) -> range:
    return range(0, pages, max(1, pages // SAMPLE))


def _prove(group: Group, pages: int, expected: dict[int, int]) -> None:
    found = {user: _rendered(group, user, pages) for user in USERS}
    if found != expected:
        raise ProofError(f"of {len(_sample(pages))} pages each, rendered {found} for {expected}")


def measure(group: Group, pages: int) -> float:
    """Seconds that forgetting takes, once; raises ``ProofError`` where it does something else."""
    group.fill(pages)
    say("filled")
    _prove(group, pages, {OURS: 0, THEIRS: 0})
    started = perf_counter()
    group.forget()
    seconds = perf_counter() - started
    say("forgot")
    _prove(group, pages, {OURS: len(_sample(pages)), THEIRS: 0})
    say("proven", seconds=seconds)
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Measure, and say it."""
    target, store, pages = arguments
    try:
        group: Group = loaded(target)(store)
        end = monotonic() + ENOUGH
        for _ in range(ROUNDS):
            measure(group, int(pages))
            if monotonic() > end:
                break
    except ImportError as error:
        say("missing", why=str(error))
    except ProofError as error:
        say("failed", why=str(error))
    else:
        say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
