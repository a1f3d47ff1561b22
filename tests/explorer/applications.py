"""What the worlds of the explorer are made of: configurations, and applications of a few steps."""

from __future__ import annotations

from typing import Any

from pagegen.config import Configuration, Settings
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.testing.explorer import Application, ApplicationError, Asked, Reply, Row, until


def configured(*rules: Rule, **settings: Any) -> Configuration:
    """Without leases, but where a world is about them: they double the steps."""
    settings.setdefault("leases", False)
    return Configuration(Settings(**settings), RuleBook(rules))


#: Seconds that replicas may lag behind.
LAG = 2.0
ITEM = Rule(path="/item", share="public", ttl=60, namespaces=["item"], own_url=False)
ONE = configured(ITEM)
TWO = configured(
    Rule(path="/item", share="public", ttl=60, namespaces=["item", "shop"], own_url=False)
)
LATE = configured(Rule(path="/list", share="public", ttl=60, groups=True, own_url=False))
VARYING = configured(Rule(path="/page", share="public", mode="http"))
CHECKED = configured(Rule(path="/item", share="public", namespaces=["item"], own_url=False))
STALE = configured(
    Rule(path="/item", share="public", ttl=60, swr=30, namespaces=["item"], own_url=False)
)
BY_URL = configured(Rule(path="/item", share="public", ttl=60))
LATE_LEASED = configured(LATE.book.rules[0], leases=True)
HASTY = configured(ITEM, max_wait=2.0)
LEASED = configured(ITEM, leases=True, max_wait=30)
LEASED_STALE = configured(STALE.book.rules[0], leases=True, max_wait=30)
SOFT = configured(
    Rule(
        path="/item", share="public", ttl=60, swr=30, namespaces=["item"], own_url=False, soft=True
    ),
    site_key="a secret of the explorer",
)
STRICT = configured(
    Rule(path="/item", share="public", ttl=60, namespaces=["item"], own_url=False, strict=True)
)
STRICT_STALE = configured(
    Rule(
        path="/item", share="public", ttl=60, swr=30, sie=30, namespaces=["item"], own_url=False,
        strict=True,
    )
)  # fmt: skip
STRICT_LEASED = configured(STRICT.book.rules[0], leases=True, max_wait=30)
HELD = configured(
    Rule(path="/item", share="public", ttl=60, namespaces=["item"], own_url=False, replica_lag=LAG)
)
HELD_LATE = configured(
    Rule(path="/list", share="public", ttl=60, groups=True, own_url=False, replica_lag=LAG)
)


def shows(row: Row) -> Application:
    """A handler that reads a row."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        return Reply()

    return application


def lists(row: Row, *names: str) -> Application:
    """A handler that finds namespaces while it renders."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        asked.tag(*names)
        return Reply()

    return application


def varies(row: Row) -> Application:
    """A handler whose page depends on the language."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        asked.header("accept-language")
        return Reply(fields=(("cache-control", "max-age=60"), ("vary", "Accept-Language")))

    return application


def checks(row: Row, *, control: str = "no-cache") -> Application:
    """A handler that answers 304 to who has the present version."""

    async def application(asked: Asked) -> Reply:
        version = await asked.read(row)
        tag = f'"{version}"'
        fields = (("etag", tag), ("cache-control", control))
        return Reply(304 if asked.fields.get("if-none-match") == tag else 200, fields)

    return application


def private(row: Row) -> Application:
    """A handler whose page is for one visitor."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        return Reply(fields=(("cache-control", "private"),), private=True)

    return application


def fails_at(row: Row, version: int) -> Application:
    """A handler that fails while the row has this version."""

    async def application(asked: Asked) -> Reply:
        if await asked.read(row) == version:
            raise ApplicationError
        return Reply()

    return application


def replicates(row: Row, *names: str) -> Application:
    """A handler that reads what a replica has of the row."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row, replica=True)
        asked.tag(*names)
        return Reply()

    return application


def slow(row: Row, seconds: float) -> Application:
    """A handler that takes its time."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        run = asked.process.world.run
        await until(lambda: False, "render", run.time + seconds)
        return Reply()

    return application
