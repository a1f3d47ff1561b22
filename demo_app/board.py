"""The wall of `/board`: twenty pages, whether each is cached right now, and the latest writes."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, groupby
from operator import itemgetter
from threading import Lock
from typing import Any, Final, Protocol

from demo_app.cost import measuring
from demo_app.pages import Pages
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


@dataclass(frozen=True, slots=True)
class Event:
    """One write: what was asked, what was forgotten, and how many pages of the wall that hit."""

    id: int
    at: str
    what: str
    namespaces: tuple[str, ...]
    forgotten: int
    cached: int


class Board:
    """Remembers the latest writes of this process. Safe to share between threads."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._events: deque[Event] = deque(maxlen=_REMEMBERED)
        self._numbers = count(1)
        self._lock = Lock()

    def note(self, what: str, names: Sequence[str], before: Sequence[Inspection]) -> None:
        """Log one write. `before`: the inspections of `TILES` just before pages were forgotten."""
        cached = [seen for seen in before if seen.state in ("fresh", "stale")]
        forgotten = sum(not set(names).isdisjoint(seen.namespaces) for seen in cached)
        at = f"{datetime.now():%H:%M:%S}"
        with self._lock:
            number = next(self._numbers)
            self._events.append(Event(number, at, what, tuple(names), forgotten, len(cached)))

    def state(self, seen: Sequence[Inspection]) -> dict[str, Any]:
        """What the wall's script asks for every second. `seen`: the inspections of `TILES`."""
        with self._lock:
            events = list(self._events)
        return {
            "fresh": sum(one.state == "fresh" for one in seen),
            "tiles": [_tile(tile, one) for tile, one in zip(TILES, seen, strict=True)],
            "events": [_event(event) for event in reversed(events)],
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


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "at": event.at,
        "what": event.what,
        "namespaces": event.namespaces,
        "forgotten": event.forgotten,
        "cached": event.cached,
    }
