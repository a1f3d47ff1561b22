"""Invented people, and what they like: the same every time."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

PEOPLE = (Path(__file__).parent / "data" / "people.txt").read_text(encoding="utf-8").split()
ADA = PEOPLE.index("Ada") + 1
GRACE = PEOPLE.index("Grace") + 1

_KEEN = {ADA: 62, GRACE: 58}
_VOTES = 240


def favourites(heats: Sequence[tuple[str, float]], last_day: date) -> list[dict[str, Any]]:
    """Rows of `favourite`, oldest first. `heats`: slugs of packages and their heat."""
    random = Random(42)  # noqa: S311  nothing secret: the same every time
    rows = [
        {
            "user_id": user,
            "package_slug": package,
            "added_on": (last_day - timedelta(days=random.randrange(400))).isoformat(),
        }
        for user in range(1, len(PEOPLE) + 1)
        for package in _some(random, heats, _KEEN.get(user) or random.randint(4, 32))
    ]
    return sorted(rows, key=lambda row: row["added_on"])


def votes(heats: Sequence[tuple[str, float]]) -> list[str]:
    """The packages that got a vote before the demo began, one entry a vote."""
    random = Random(7)  # noqa: S311  likewise
    slugs = [package for package, _ in heats]
    weights = [heat**0.5 for _, heat in heats]
    return random.choices(slugs, weights, k=_VOTES)


def _some(random: Random, heats: Sequence[tuple[str, float]], count: int) -> list[str]:
    slugs = [package for package, _ in heats]
    cumulated = list(accumulate(4 + heat**0.7 for _, heat in heats))
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        chosen[random.choices(slugs, cum_weights=cumulated)[0]] = None
    return list(chosen)
