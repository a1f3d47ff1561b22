"""Real servers under hostile connections: behind pagegen they say what they say without it.

``PAGEGEN_FUZZ_CONNECTIONS`` asks for more of them (40 to each server), ``PAGEGEN_FUZZ_SEED`` for
others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.processes import port_in, running, text_of
from tests.security.fuzz.wires import QUIET, Spoken, connection, last, speak
from tests.serving import ROOT

CONNECTIONS: Final = int(os.environ.get("PAGEGEN_FUZZ_CONNECTIONS", "40"))
SEED: Final = int(os.environ.get("PAGEGEN_FUZZ_SEED", "1"))

_UVICORN: Final = ("uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "--no-access-log",
                   "--factory", "tests.security.fuzz.site:asgi", "--http")  # fmt: skip
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn with httptools": (*_UVICORN, "httptools"),
    "uvicorn with h11": (*_UVICORN, "h11"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:0", "--threads", "4", "--graceful-timeout", "2",
                 "--workers", "1", "tests.security.fuzz.site:wsgi()"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """One server twice: bare, and with pagegen in front of the application."""

    bare: int
    cached: int
    log: Path


@pytest.fixture(scope="module", params=COMMANDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("fuzz")
    command = (sys.executable, "-m", *COMMANDS[request.param])
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        ports = []
        for name, more in (("bare", {"FUZZ_BARE": "1"}), ("cached", {})):
            log = folder / f"{name}.log"
            found = running(command, log, folder, {**own, **more}, lambda log=log: port_in(log))
            ports.append(stack.enter_context(found))
        yield Pair(*ports, folder / "cached.log")


def _both(pair: Pair, said: bytes) -> tuple[Spoken, Spoken, Spoken]:
    """Bare, and twice with pagegen. Asked more patiently again where they differ: a slow machine
    answers some requests behind the end of a short patience.
    """
    for quiet in (QUIET, 1.0, 4.0):
        bare, first, second = (
            speak(port, said, quiet) for port in (pair.bare, pair.cached, pair.cached)
        )
        if bare == first == second:
            break
    return bare, first, second


def test_behind_pagegen_a_server_says_what_it_says_without(pair: Pair) -> None:
    seen = []
    for seed in range(SEED * 1_000_000, SEED * 1_000_000 + CONNECTIONS):
        said = connection(seed)
        bare, *cached = _both(pair, said)
        for found in cached:
            assert found == bare, (seed, said)
        if bare.pages and b"n%%3D%d" % seed in bare.pages[-1]:
            seen.append(len(bare.pages))
    # Else all of it would be refused, and nothing was tried.
    assert len(seen) > CONNECTIONS // 8
    assert max(seen) > 2
    # Some of these connections break uvicorn itself, bare too; nothing of ours may stand in that.
    assert f"{ROOT / 'pagegen'}{os.sep}" not in text_of(pair.log)


def test_pages_of_one_connection_come_in_order_and_to_whom_they_belong(pair: Pair) -> None:
    people = ("anna", "bert", "", "carl")
    said = b"".join(
        b"GET /own/order%d HTTP/1.1\r\nHost: shop.example\r\n%b\r\n"
        % (number % 3, b"Cookie: user=%b\r\n" % who.encode() if who else b"")
        for number in range(12)
        for who in people
    )
    for _ in range(2):
        spoken = speak(pair.cached, said + last(7))
        assert spoken.statuses == (200,) * 49
        expect = [(b"/own/order%d" % (n % 3), who) for n in range(12) for who in people]
        for page, (path, who) in zip(spoken.pages, expect, strict=False):
            assert b'"path": "%b"' % path in page
            assert b'"who": "%b"' % who.encode() in page
        assert b"n%3D7" in spoken.pages[-1]
