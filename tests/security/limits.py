"""The language of :mod:`tests.security.test_every_limit`: how a limit is hit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from pagegen import PageCache, Rule
from pagegen.testing import Reply, Scenario
from tests.conftest import MakeScenario

#: What a handler answers with.
Fields = list[tuple[str, str]]


class Trial(NamedTuple):
    """A cache, what its limit allows, and what it does not."""

    cache: PageCache
    within: Callable[[], object]
    over: Callable[[], object]


class Stage(NamedTuple):
    """What a case may use: scenarios on one front, constants that are made small, an empty
    directory, and what is left at the end.
    """

    scenario: MakeScenario
    patch: pytest.MonkeyPatch
    place: Path
    keep: Callable[[AbstractContextManager[object]], object]


class Case(NamedTuple):
    """How the ``limit``, as the table names it, is hit, and which ``counter`` goes up."""

    limit: str
    counter: str
    trial: Callable[[Stage], Trial]


CASES: Final[list[Case]] = []


def hits(limit: str, *counters: str) -> Callable[[Callable[..., Trial]], Callable[..., Trial]]:
    """A case of this limit; with several counters, one for each: they are given to it."""

    def add(trial: Callable[..., Trial]) -> Callable[..., Trial]:
        for counter in counters:
            case = (lambda stage, c=counter: trial(stage, c)) if len(counters) > 1 else trial
            CASES.append(Case(limit, counter, case))
        return trial

    return add


def page(path: str = "/{rest:path}", **more: Any) -> Rule:
    """A rule for pages of everybody."""
    return Rule(**{"path": path, "share": "public", "ttl": "1h", **more})


def asking(
    stage: Stage,
    rule: Rule,
    within: str | dict[str, str],
    over: str | dict[str, str],
    **settings: Any,
) -> Trial:
    """GETs of two targets, or of ``/page`` with two sets of fields."""
    site = stage.scenario(rule, **settings)

    def ask(wanted: str | dict[str, str]) -> None:
        if isinstance(wanted, str):
            site.get(wanted)
        else:
            site.get("/page", wanted)

    return Trial(site.cache, lambda: ask(within), lambda: ask(over))


def answering(stage: Stage, rule: Rule, within: Fields, over: Fields, **settings: Any) -> Trial:
    """GETs of two pages whose handlers answer with these fields."""
    site = stage.scenario(rule, **settings)
    answers = {"/within": within, "/over": over}
    site.handler = lambda seen: Reply(b"page", fields=answers[seen.path])
    return Trial(site.cache, lambda: site.get("/within"), lambda: site.get("/over"))


def gets(site: Scenario, *numbers: int, prefix: str = "/p", **fields: str) -> Callable[[], None]:
    """GETs of numbered pages."""

    def ask() -> None:
        for number in numbers:
            site.get(f"{prefix}{number}", fields)

    return ask
