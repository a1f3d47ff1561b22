"""What all tests share: scenarios on each front, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from pagegen import remarks
from pagegen.testing import Front, Scenario

settings.register_profile(
    "pagegen",
    deadline=None,  # machines are noisy; speed is shown in benchmarks/
    derandomize=True,  # the same examples for everybody, so that main stays green
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("pagegen")

MakeScenario = Callable[..., Scenario]


@pytest.fixture(autouse=True)
def no_rows_are_declared() -> Iterator[None]:
    """What rows declare, the engine knows in the whole process: a template such as ``{id}`` of an
    earlier test would keep it from doubting any name.
    """
    known = dict(remarks._declared)
    remarks._declared.clear()
    yield
    remarks._declared.update(known)


@pytest.fixture(params=["wsgi", "asgi"])
def front(request: pytest.FixtureRequest) -> Front:
    """Every scenario runs on both fronts."""
    chosen: Front = request.param
    return chosen


@pytest.fixture
def scenario(front: Front) -> Iterator[MakeScenario]:
    """Build scenarios on the front under test."""
    with ExitStack() as stack:

        def make(*rules: Any, **options: Any) -> Scenario:
            return stack.enter_context(Scenario(front, rules, **options))

        yield make
