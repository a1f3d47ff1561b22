"""What a soak found, for people, and which promises it broke."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.security.soak.running import ROOM, Found

#: The part of people's pages that comes from the cache at least: writers forget some, attackers
#: some more, two of sixteen are never stored, and a busy machine stores late or not at all.
FEWEST_HITS: Final = 0.4


def broken(found: Found) -> list[str]:
    """Promises that did not hold, in words."""
    heavy = [
        f"{worker} grew by {weight.most - weight.first >> 20} MiB, over {ROOM >> 20}"
        for worker, weight in found.weights.items()
        if weight.most - weight.first > ROOM
    ]
    few = [] if found.diary.share() >= FEWEST_HITS else [f"hits: {found.diary.share():.0%}"]
    errors = [f"5xx of the cache's own: {said}" for said in found.unexplained]
    return [*found.judge.breaches, *errors, *heavy, *few, *found.died, *found.logged]


def summary(found: Found) -> str:
    """All of it, in lines."""
    diary, lines = found.diary, [f"{found.seconds:.0f} s, {sum(found.sent.values())} attacks"]
    lines.append(
        f"people: {diary.pages()} pages, {diary.share():.1%} from the cache, {diary.writes} writes "
        f"({diary.busy} failed)"
    )
    for server in diary.seconds:
        half, most, all_ = (_ms(diary.quantile(server, part)) for part in (0.5, 0.99, 1.0))
        lines.append(f"{server}: half of them within {half}, 99 % within {most}, all within {all_}")
    for worker, weight in found.weights.items():
        lines.append(f"{worker}: {weight.first >> 20} MiB warm, {weight.most >> 20} at most")
    for name, count in sorted(found.sent.items()):
        lines.append(f"  {name:22}{count:7}   {_statuses(found, name)}")
    lines.append("decided: " + ", ".join(f"{t} {n}" for t, n in found.judge.traces.most_common(24)))
    replayed = Counter(attack.name for _, attack in found.judge.failures)
    lines.append(f"5xx that were asked again of the bare application: {dict(replayed)}")
    return "\n".join([*lines, *(f"BROKEN: {said}" for said in broken(found) or ["nothing"])])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _statuses(found: Found, name: str) -> str:
    counts = {status: n for (of, status), n in found.judge.statuses.items() if of == name}
    said = ", ".join(f"{status}: {n}" for status, n in sorted(counts.items()))
    return f"{said}, none: {found.unanswered[name]}"
