"""The three writes. Each has committed when it returns: only then may pages be forgotten."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from demo_app.inputs import Submission
from demo_app.problems import Missing
from demo_app.schema import category, favourite, package, user


class Writer:
    """Writes to one database. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def toggle_favourite(self, user_id: int, slug: str) -> bool:
        """Add the package to somebody's favourites, or take it out; True when it was added."""
        with self._engine.begin() as connection:
            wanted = _package_id(connection, slug)
            if connection.scalar(select(user.c.id).where(user.c.id == user_id)) is None:
                raise Missing(f"There is no user {user_id}.")
            row = {"user_id": user_id, "package_id": wanted}
            removed = connection.execute(delete(favourite).filter_by(**row))
            if removed.rowcount == 0:
                today = datetime.now(UTC).date().isoformat()
                connection.execute(insert(favourite).values(**row, added_on=today))
            return removed.rowcount == 0

    def vote(self, slug: str) -> None:
        """One more vote for the package. Raises `Missing`."""
        with self._engine.begin() as connection:
            wanted = _package_id(connection, slug)
            connection.execute(
                update(package).filter_by(id=wanted).values(votes=package.c.votes + 1)
            )

    def submit(self, form: Submission) -> Submission:
        """Add a package; nothing is written when the returned form has errors."""
        try:
            with self._engine.begin() as connection:
                form = _checked(connection, form)
                if not form.errors:
                    connection.execute(insert(package).values(_new(form)))
        except IntegrityError:
            # Two people sent the same name at the same moment; the second one reads why.
            return replace(form, errors={"name": _taken(form.slug)})
        return form


def _package_id(connection: Connection, slug: str) -> int:
    found = connection.scalar(select(package.c.id).where(package.c.slug == slug))
    if found is None:
        raise Missing(f"There is no package called “{slug}” in the catalogue.")
    return int(found)


def _checked(connection: Connection, form: Submission) -> Submission:
    errors = dict(form.errors)
    known = select(category.c.slug).where(category.c.slug == form.category)
    if connection.scalar(known) is None:
        errors["category"] = "Choose one of the categories."
    if connection.scalar(select(package.c.id).where(package.c.slug == form.slug)) is not None:
        errors.setdefault("name", _taken(form.slug))
    return replace(form, errors=errors)


def _taken(slug: str) -> str:
    return f"The catalogue already has a package at /packages/{slug}."


def _new(form: Submission) -> dict[str, str]:
    return {
        "slug": form.slug,
        "name": form.name,
        "kind": "python-package",
        "category": form.category,
        "url": form.url,
        "licence": form.licence,
        "sources": "submitted",
        "submitted_at": datetime.now(UTC).isoformat(),
    }
