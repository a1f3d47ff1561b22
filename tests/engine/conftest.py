"""What the tests of one engine share: its clock, its store and its process."""

from __future__ import annotations

import pytest

from pagegen.owed import Owed
from pagegen.testing import FakeClock
from tests.engine.driving import Hooked, Process


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Hooked:
    return Hooked(clock)


@pytest.fixture
def process(clock: FakeClock, store: Hooked) -> Process:
    return Process(clock, store)


@pytest.fixture
def unpaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pays in the background."""
    monkeypatch.setattr(Owed, "_work", lambda self: None)
