"""Renewing a page before its lifetime ends, by chance (Vattani, Chierichetti, Lowenstein: "Optimal
Probabilistic Cache Stampede Prevention", VLDB 2015).

Each hit draws how much earlier it takes the end to be: render time × beta × an exponential variate
of mean 1. Pages that take long are renewed early, rarely asked ones not at all, and of many that
ask at once few or one draw enough. Where no lease makes them one, e^(1/beta) renderings are
expected for each expiry of a page that is asked for all the time.
"""

from __future__ import annotations

from math import log
from typing import Final

from ..messages import StoredResponse

#: Nobody draws more than so many times the mean (one in 160,000 would). It makes a hit that is
#: further from its end than this one comparison.
HORIZON: Final = 12.0


def near_end(page: StoredResponse, beta: float, now: float) -> bool:
    """Whether a fresh page may be renewed at ``now`` (seconds since the epoch) by any draw."""
    return page.fresh_until - now < page.render_seconds * beta * HORIZON


def due(page: StoredResponse, beta: float, now: float, chance: float) -> bool:
    """Whether this draw renews the page; ``chance`` is uniform in [0, 1)."""
    drawn = min(-log(1.0 - chance), HORIZON)
    return now + page.render_seconds * beta * drawn >= page.fresh_until
