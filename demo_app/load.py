"""The two data files become one SQLite database: `python -m demo_app.load`.

Loading is quick and safe to do in several processes at once: each builds a file of its own, and the
first one that is complete gets the name.
"""

import csv
import lzma
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, create_engine, insert, update

from demo_app import heat, schema, seed
from demo_app.inputs import slugify

HERE = Path(__file__).parent
CATALOGUE = HERE / "data" / "catalogue.csv"
HISTORY = HERE / "data" / "star_history.csv.xz"

Row = Mapping[str, str]
Histories = Mapping[str, list[heat.Snapshot]]

_FACTS = ("slug", "name", "kind", "url", "repo", "pypi", "licence", "latest_version")
_WORDS = {
    "api": "API", "apis": "APIs", "auth": "authentication", "cms": "CMS", "fastapi": "FastAPI",
    "flask": "Flask", "django": "Django", "graphql": "GraphQL", "openapi": "OpenAPI",
    "pyramid": "Pyramid", "ecommerce": "e-commerce", "ui": "UI", "url": "URL", "utils": "utilities",
    "websocket": "WebSocket", "wysiwyg": "WYSIWYG",
}  # fmt: skip


def database_path() -> Path:
    """Where the database is: `DEMO_DATABASE`, or a file beside this module.

    The number in its name is that of its tables' form: one of an earlier version is left alone.
    """
    return Path(os.environ.get("DEMO_DATABASE") or HERE / ".data" / "catalogue-2.sqlite")


def ensure_database() -> Path:
    """The path of a loaded database; loads it when there is none."""
    path = database_path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _load(path)
    return path


def _load(path: Path) -> None:
    began = perf_counter()
    print(f"demo_app: loading the catalogue into {path} …", end=" ", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / "catalogue.sqlite"
        count = _build(fresh)
        try:
            # Unlike a rename, a link never takes the name from a file that is already in use.
            os.link(fresh, path)
        except FileExistsError:
            print("another process was quicker", file=sys.stderr)
            return
    print(f"{count} packages in {perf_counter() - began:.1f} s", file=sys.stderr)


def _build(path: Path) -> int:
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    histories = _by_slug(rows, _histories())
    packages = [_package(number, row, histories) for number, row in enumerate(rows, 1)]
    engine = create_engine(f"sqlite:///{path}")
    try:
        schema.metadata.create_all(engine)
        with engine.begin() as connection:
            _insert_facts(connection, rows, packages, histories)
            _insert_people(connection, packages, histories)
    finally:
        engine.dispose()
    return len(packages)


def _histories() -> Histories:
    stars: dict[str, dict[date, int]] = defaultdict(dict)
    with lzma.open(HISTORY, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        for day, repo, count in lines:
            stars[repo][date.fromisoformat(day)] = int(count)
    return {repo: sorted(by_day.items()) for repo, by_day in stars.items()}


def _by_slug(rows: Sequence[Row], histories: Histories) -> Histories:
    """Each package's history.

    The history keeps a project's first owner and the catalogue has the present one: equal names
    with equal stars at the end are one project that moved.
    """
    moved = {(_name(repo), history[-1][1]): history for repo, history in histories.items()}
    found: dict[str, list[heat.Snapshot]] = {}
    for row in rows:
        history = histories.get(row["repo"])
        if history is None and row["stars"]:
            history = moved.get((_name(row["repo"]), int(row["stars"])))
        if history is not None:
            found[row["slug"]] = history
    return found


def _name(repo: str) -> str:
    return repo.rpartition("/")[2].lower()


def _package(number: int, row: Row, histories: Histories) -> dict[str, Any]:
    debian = " ".join(filter(None, (row["debian_package"], row["debian_version"])))
    points = heat.curve(histories.get(row["slug"], ()))
    return {
        "id": number,
        "category": slugify(_label(row["category"])),
        "created_year": int(row["created_year"]) if row["created_year"] else None,
        "latest_release": row["latest_release"] or None,
        "stars": int(row["stars"]) if row["stars"] else None,
        "downloads": int(row["pypi_monthly_downloads"]) if row["pypi_monthly_downloads"] else None,
        "debian": debian,
        "sources": row["sources"].replace("|", " "),
        "heat": points[-1].heat if points else 0.0,
    } | {fact: row[fact] for fact in _FACTS}


def _label(raw: str) -> str:
    words = raw.replace("-", " ").split(" ")
    label = " ".join(_WORDS.get(word.lower()) or _lowered(word) for word in words)
    return label[0].upper() + label[1:]


def _lowered(word: str) -> str:
    is_acronym = word[1:] != word[1:].lower()
    return word if is_acronym else word.lower()


def _insert_facts(
    connection: Connection,
    rows: Sequence[Row],
    packages: Sequence[Mapping[str, Any]],
    histories: Histories,
) -> None:
    labels: dict[str, str] = {}
    for row in rows:
        labels.setdefault(slugify(_label(row["category"])), _label(row["category"]))
    categories = [{"slug": slug, "label": label} for slug, label in labels.items()]
    connection.execute(insert(schema.category), categories)
    connection.execute(insert(schema.package), packages)
    connection.execute(insert(schema.snapshot), list(_snapshots(packages, histories)))


def _snapshots(
    packages: Sequence[Mapping[str, Any]], histories: Histories
) -> Iterator[dict[str, Any]]:
    for package in packages:
        for day, stars in histories.get(package["slug"], ()):
            yield {"package_id": package["id"], "day": day.isoformat(), "stars": stars}


def _insert_people(
    connection: Connection, packages: Sequence[Mapping[str, Any]], histories: Histories
) -> None:
    people = [{"id": number, "name": name} for number, name in enumerate(seed.PEOPLE, 1)]
    last_day = max(history[-1][0] for history in histories.values())
    heats = [(package["slug"], package["heat"]) for package in packages]
    connection.execute(insert(schema.user), people)
    connection.execute(insert(schema.favourite), seed.favourites(heats, last_day))
    one_more = update(schema.package).values(votes=schema.package.c.votes + 1)
    for package in seed.votes(heats):
        connection.execute(one_more.where(schema.package.c.slug == package))


if __name__ == "__main__":
    ensure_database()
