"""The catalogue, for reading: every question a page asks, answered with frozen values."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, func, select

from demo_app.heat import VOTE, Snapshot, curve
from demo_app.inputs import CatalogueQuery, Window
from demo_app.problems import Missing
from demo_app.schema import category, favourite, package, snapshot, user

KINDS: Final = {
    "django-app": "Django app",
    "python-package": "Python package",
    "web-python": "Python web package",
}
SPARK_WEEKS: Final = 48
_SPARK_DAYS: Final = timedelta(days=420)
# The driver of SQLite raises OverflowError for whole numbers that do not fit into 64 bits.
_MAX_ID: Final = 2**63 - 1

hotness = package.c.heat + VOTE * package.c.votes


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of package, and how many there are."""

    slug: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A package as a row of the catalogue."""

    slug: str
    name: str
    category: str
    category_slug: str
    licence: str
    version: str
    stars: int | None
    heat: float
    spark: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One slice of the catalogue, with what stands around it."""

    rows: tuple[Listed, ...]
    total: int
    categories: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has favourites."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Package:
    """Everything there is to know about one package."""

    slug: str
    name: str
    kind: str
    category: str
    category_slug: str
    url: str
    repo: str
    pypi: str
    licence: str
    created_year: int | None
    version: str
    released: str | None
    stars: int | None
    downloads: int | None
    debian: str
    sources: tuple[str, ...]
    heat: float
    votes: int
    submitted: bool
    history: tuple[Snapshot, ...]
    fans: tuple[User, ...]
    related: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Favourite:
    """A package as a row of somebody's favourites."""

    slug: str
    name: str
    category: str
    category_slug: str
    stars: int | None
    added_on: str


@dataclass(frozen=True, slots=True)
class Favourites:
    """One slice of somebody's favourites."""

    user: User
    rows: tuple[Favourite, ...]
    total: int


class Catalogue:
    """Reads from one database. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.connect() as connection:
            last = connection.scalar(select(func.max(snapshot.c.day)))
        self.last_day: date = date.fromisoformat(last or "2026-06-25")

    def listing(self, query: CatalogueQuery) -> Listing:
        """The slice of the catalogue that `query` asks for."""
        with self._engine.connect() as connection:
            categories = _categories(connection)
            total = _total(categories, query.category)
            rows = connection.execute(_listing(query)).all()
            sparks = self._sparks(connection, [row.id for row in rows])
        listed = tuple(_listed(row, sparks.get(row.id, ())) for row in rows)
        return Listing(listed, total, categories)

    def categories(self) -> tuple[Category, ...]:
        """All categories, the largest first."""
        with self._engine.connect() as connection:
            return _categories(connection)

    def package(self, slug: str) -> Package:
        """One package. Raises `Missing`."""
        with self._engine.connect() as connection:
            row = connection.execute(_package(slug)).one_or_none()
            if row is None:
                raise Missing(f"There is no package called “{slug}” in the catalogue.")
            return Package(
                **_facts(row),
                history=tuple(_history(connection, [row.id]).get(row.id, ())),
                fans=tuple(User(*fan) for fan in connection.execute(_fans(row.slug))),
                related=tuple((r.slug, r.name) for r in connection.execute(_related(row))),
            )

    def users(self) -> tuple[User, ...]:
        """Everybody."""
        with self._engine.connect() as connection:
            people = connection.execute(select(user.c.id, user.c.name).order_by(user.c.id))
            return tuple(User(*person) for person in people)

    def favourites(self, user_id: int, window: Window) -> Favourites:
        """A slice of somebody's favourites, the latest first. Raises `Missing`."""
        total = select(func.count()).select_from(favourite).where(favourite.c.user_id == user_id)
        with self._engine.connect() as connection:
            person = _user(connection, user_id)
            rows = connection.execute(_favourites(user_id, window)).all()
            count = connection.scalar(total) or 0
        return Favourites(person, tuple(Favourite(*row) for row in rows), count)

    def user(self, user_id: int) -> User:
        """One person. Raises `Missing`."""
        with self._engine.connect() as connection:
            return _user(connection, user_id)

    def _sparks(
        self, connection: Connection, packages: Sequence[int]
    ) -> dict[int, tuple[float, ...]]:
        histories = _history(connection, packages, since=self.last_day - _SPARK_DAYS)
        return {
            package: tuple(point.heat for point in curve(history)[-SPARK_WEEKS:])
            for package, history in histories.items()
        }


def _categories(connection: Connection) -> tuple[Category, ...]:
    count = func.count().label("count")
    rows = connection.execute(
        select(category.c.slug, category.c.label, count)
        .join(package, package.c.category == category.c.slug)
        .group_by(category.c.slug)
        .order_by(count.desc(), category.c.label)
    )
    return tuple(Category(*row) for row in rows)


def _total(categories: Iterable[Category], wanted: str) -> int:
    if wanted == "all":
        return sum(category.count for category in categories)
    for known in categories:
        if known.slug == wanted:
            return known.count
    raise Missing(f"There is no category called “{wanted}”.")


def _listing(query: CatalogueQuery) -> Select[Any]:
    orders: dict[str, tuple[ColumnElement[Any], ...]] = {
        "hot": (hotness.desc(), package.c.stars.desc().nulls_last()),
        "stars": (package.c.stars.desc().nulls_last(),),
        "name": (),
        "newest": (
            package.c.submitted_at.desc().nulls_last(),
            package.c.latest_release.desc().nulls_last(),
        ),
    }
    wanted = (
        select(package, hotness.label("hotness"), category.c.label)
        .join(category, package.c.category == category.c.slug)
        .order_by(*orders[query.sort], func.lower(package.c.name), package.c.id)
        .offset(query.window.start)
        .limit(query.window.size)
    )
    if query.category == "all":
        return wanted
    return wanted.where(package.c.category == query.category)


def _listed(row: Row[Any], spark: tuple[float, ...]) -> Listed:
    return Listed(
        slug=row.slug,
        name=row.name,
        category=row.label,
        category_slug=row.category,
        licence=row.licence,
        version=row.latest_version,
        stars=row.stars,
        heat=row.hotness,
        spark=spark,
    )


def _package(slug: str) -> Select[Any]:
    return (
        select(package, category.c.label)
        .join(category, package.c.category == category.c.slug)
        .where(package.c.slug == slug)
    )


def _facts(row: Row[Any]) -> dict[str, Any]:
    same = ("slug", "name", "url", "repo", "pypi", "licence", "created_year", "stars", "downloads")
    return {name: getattr(row, name) for name in (*same, "debian", "heat", "votes")} | {
        "kind": KINDS.get(row.kind, row.kind),
        "category": row.label,
        "category_slug": row.category,
        "version": row.latest_version,
        "released": row.latest_release,
        "sources": tuple(row.sources.split()),
        "submitted": row.submitted_at is not None,
    }


def _history(
    connection: Connection, packages: Sequence[int], since: date = date.min
) -> dict[int, list[Snapshot]]:
    rows = connection.execute(
        select(snapshot.c.package_id, snapshot.c.day, snapshot.c.stars)
        .where(snapshot.c.package_id.in_(packages), snapshot.c.day >= since.isoformat())
        .order_by(snapshot.c.package_id, snapshot.c.day)
    )
    histories: dict[int, list[Snapshot]] = defaultdict(list)
    for package_id, day, stars in rows:
        histories[package_id].append((date.fromisoformat(day), stars))
    return histories


def _fans(slug: str) -> Select[Any]:
    return (
        select(user.c.id, user.c.name)
        .join(favourite, favourite.c.user_id == user.c.id)
        .where(favourite.c.package_slug == slug)
        .order_by(favourite.c.id.desc())
    )


def _related(row: Row[Any]) -> Select[Any]:
    # Only packages with stars: a submitted one has none, so submitting never changes this page.
    return (
        select(package.c.slug, package.c.name)
        .where(package.c.category == row.category, package.c.id != row.id)
        .where(package.c.stars.is_not(None))
        .order_by(package.c.stars.desc(), package.c.id)
        .limit(8)
    )


def _user(connection: Connection, user_id: int) -> User:
    wanted = select(user).where(user.c.id == user_id)
    row = connection.execute(wanted).one_or_none() if user_id <= _MAX_ID else None
    if row is None:
        raise Missing(f"There is no user {user_id}.")
    return User(row.id, row.name)


def _favourites(user_id: int, window: Window) -> Select[Any]:
    return (
        select(
            package.c.slug,
            package.c.name,
            category.c.label,
            category.c.slug,
            package.c.stars,
            favourite.c.added_on,
        )
        .join(package, package.c.slug == favourite.c.package_slug)
        .join(category, category.c.slug == package.c.category)
        .where(favourite.c.user_id == user_id)
        .order_by(favourite.c.id.desc())
        .offset(window.start)
        .limit(window.size)
    )
