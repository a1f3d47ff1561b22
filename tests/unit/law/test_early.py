"""XFetch: how early a page is renewed, and how often (Vattani et al., VLDB 2015)."""

from __future__ import annotations

from math import e, exp
from random import Random

import pytest

from pagegen.law.early import HORIZON, due, near_end
from pagegen.messages import StoredResponse
from pagegen.testing.promises.samples import page

END = 1_000.0
TOOK = 2.0


def rendered(took: float = TOOK) -> StoredResponse:
    made = page()
    made.fresh_until, made.render_seconds = END, took
    return made


@pytest.mark.parametrize(
    ("beta", "chance", "seconds_early"),
    [
        # An exponential variate is the negative logarithm of what is left of the chance.
        (1.0, 0.0, 0.0),
        (1.0, 1 - 1 / e, 1 * TOOK),
        (2.0, 1 - 1 / e, 2 * TOOK),
        (2.0, 1 - exp(-3), 6 * TOOK),
        # Bounded, so that a hit far from its end needs no draw.
        (1.0, 1 - 2**-53, HORIZON * TOOK),
    ],
)
def test_a_draw_is_so_many_seconds_early(beta: float, chance: float, seconds_early: float) -> None:
    moment = END - seconds_early
    assert due(rendered(), beta, moment + 0.001, chance)
    assert not due(rendered(), beta, moment - 0.001, chance)


@pytest.mark.parametrize(("beta", "took"), [(2.0, TOOK), (0.5, TOOK), (2.0, 0.01)])
def test_who_is_not_near_the_end_need_not_draw(beta: float, took: float) -> None:
    edge = END - beta * took * HORIZON
    assert not near_end(rendered(took), beta, edge - 0.0001)
    assert near_end(rendered(took), beta, edge + 0.0001)
    # Whatever is drawn before the edge.
    assert not due(rendered(took), beta, edge - 0.0001, 1 - 2**-53)


@pytest.mark.parametrize(("beta", "took"), [(0.0, TOOK), (2.0, 0.0)])
def test_neither_without_beta_nor_for_a_page_that_costs_nothing(beta: float, took: float) -> None:
    assert not near_end(rendered(took), beta, END - 1e-6)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_without_a_lease_each_expiry_costs_what_the_paper_says(beta: float) -> None:
    """Everybody who draws while the first renders, renders too: e^(1/beta) in the mean."""
    draw, trials, step = Random(7).random, 1500, TOOK / 25
    renderings = 0
    for _ in range(trials):
        moment, first = END - beta * TOOK * HORIZON, END
        while moment < min(END, first + TOOK):
            if due(rendered_once, beta, moment, draw()):
                first = min(first, moment)
                renderings += 1
            moment += step
    assert renderings / trials == pytest.approx(exp(1 / beta), rel=0.08)


rendered_once = rendered()
