"""Stores that hostile hands reach into, for all tests of bytes at rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.vault import KINDS, Hands, hands_on


@pytest.fixture(scope="module", params=KINDS)
def hands(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hands]:
    """Hands on one store of each kind."""
    with hands_on(request.param, tmp_path_factory.mktemp("vault")) as on:
        yield on


@pytest.fixture
def site(request: pytest.FixtureRequest) -> str:
    """A site of the test's own, so that tests share a server."""
    return str(request.node.name)
