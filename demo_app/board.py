"""The wall of `/board`: twenty pages, whether each is cached right now, and the latest writes."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Protocol

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from demo_app.cost import measuring
from demo_app.pages import Pages
from demo_app.schema import write
from demo_app.seed import ADA, GRACE


class Inspection(Protocol):
    """What pagegen tells about one page; see `PageCache.inspect`."""

    @property
    def state(self) -> str:
        """Fresh, stale, invalidated, absent or uncacheable."""

    @property
    def age(self) -> float | None:
        """Seconds since the page was rendered."""

    @property
    def namespaces(self) -> Sequence[str]:
        """What the page belongs to."""

    @property
    def changed(self) -> Sequence[str]:
        """Which of its namespaces were invalidated since."""

    @property
    def render_seconds(self) -> float | None:
        """What the page cost."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One page on the wall."""

    group: str
    label: str
    path: str
    query: str = ""

    @property
    def url(self) -> str:
        """The page's address."""
        return f"{self.path}?{self.query}" if self.query else self.path


def _tiles() -> Iterator[Tile]:
    for label, query in (
        ("Hot 1 to 24", ""),
        ("Hot 25 to 48", "start=24&end=48"),
        ("Most stars", "sort=stars"),
        ("Newest", "sort=newest"),
        ("Testing", "category=testing"),
    ):
        yield Tile("Catalogue", label, "/", query)
    for slug in ("flask", "django", "fastapi", "starlette", "wagtail"):
        yield Tile("Packages", slug, f"/packages/{slug}")
    for name, user in (("Ada", ADA), ("Grace", GRACE)):
        for start, end in ((0, 20), (20, 40), (40, 60), (0, 10), (0, 100)):
            query = f"start={start}&end={end}"
            path = f"/users/{user}/favorites"
            yield Tile(f"Favourites of {name}", f"{start} to {end}", path, query)


TILES: Final = tuple(_tiles())
_STATES: Final = {"fresh": "fresh", "stale": "stale", "invalidated": "forgotten"}
_REMEMBERED: Final = 40


class Board:
    """Keeps the latest writes, of all workers, in the database. Safe to share between threads."""

    def __init__(self, pages: Pages, engine: Engine) -> None:
        self._pages = pages
        self._engine = engine
        with engine.begin() as connection:
            # A database of an earlier version has no such table; all workers start at once.
            connection.execute(CreateTable(write, if_not_exists=True))

    def note(self, what: str, names: Sequence[str], before: Sequence[Inspection]) -> None:
        """Log one write. `before`: the inspections of `TILES` just before it."""
        cached = [seen for seen in before if seen.state in ("fresh", "stale")]
        row = {
            "at": f"{datetime.now():%H:%M:%S}",
            "what": what,
            "namespaces": " ".join(names),
            "forgotten": sum(not set(names).isdisjoint(seen.namespaces) for seen in cached),
            "cached": len(cached),
        }
        # The write has committed: its pages are forgotten whether or not the board hears of it.
        with suppress(OperationalError), self._engine.begin() as connection:
            (number,) = connection.execute(insert(write), row).inserted_primary_key or (0,)
            connection.execute(delete(write).where(write.c.id <= number - _REMEMBERED))

    def state(self, seen: Sequence[Inspection]) -> dict[str, Any]:
        """What the wall's script asks for every second. `seen`: the inspections of `TILES`."""
        with self._engine.connect() as connection:
            latest = connection.execute(select(write).order_by(write.c.id.desc())).mappings().all()
        return {
            "fresh": sum(one.state == "fresh" for one in seen),
            "tiles": [_tile(tile, one) for tile, one in zip(TILES, seen, strict=True)],
            "events": [{**row, "namespaces": row["namespaces"].split()} for row in latest],
        }

    def page(self, seen: Sequence[Inspection]) -> str:
        """`/board`"""
        with measuring() as cost:
            state = self.state(seen)
            groups = {
                group: list(tiles) for group, tiles in groupby(state["tiles"], itemgetter("group"))
            }
            return self._pages.render("board.html", cost, (), state=state, groups=groups)


def _tile(tile: Tile, seen: Inspection) -> dict[str, Any]:
    cost = seen.render_seconds
    return {
        "group": tile.group,
        "label": tile.label,
        "url": tile.url,
        "state": _STATES.get(seen.state, "absent"),
        "age": seen.age,
        "namespaces": list(seen.namespaces),
        "changed": list(seen.changed),
        "cost": None if cost is None else round(cost * 1000, 1),
    }
