"""The three writes. None says what it forgets: its rows do (`rows.py`), after their commit."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from demo_app.inputs import Submission
from demo_app.problems import Missing
from demo_app.rows import Favourite, Package, User
from demo_app.schema import category
from pagegen import PageCache
from pagegen.contrib.sqlalchemy import watch


class Writer:
    """Writes to one database. Safe to share between threads."""

    def __init__(self, engine: Engine, cache: PageCache) -> None:
        self._sessions = sessionmaker(engine)
        watch(self._sessions, cache)

    def toggle_favourite(self, user_id: int, slug: str) -> bool:
        """Add the package to somebody's favourites, or take it out; True when it was added."""
        with self._sessions.begin() as session:
            _find(session, slug)
            if session.get(User, user_id) is None:
                raise Missing(f"There is no user {user_id}.")
            row = {"user_id": user_id, "package_slug": slug}
            removed = session.execute(delete(Favourite).filter_by(**row))
            if removed.rowcount == 0:
                today = datetime.now(UTC).date().isoformat()
                session.add(Favourite(**row, added_on=today))
            return removed.rowcount == 0

    def vote(self, slug: str) -> None:
        """One more vote for the package. Raises `Missing`."""
        with self._sessions.begin() as session:
            _find(session, slug)
            one_more = {"votes": Package.votes + 1}
            session.execute(update(Package).filter_by(slug=slug).values(one_more))

    def submit(self, form: Submission) -> Submission:
        """Add a package; nothing is written when the returned form has errors."""
        try:
            with self._sessions.begin() as session:
                form = _checked(session, form)
                if not form.errors:
                    session.add(Package(**_new(form)))
        except IntegrityError:
            # Two people sent the same name at the same moment; the second one reads why.
            return replace(form, errors={"name": _taken(form.slug)})
        return form


def _find(session: Session, slug: str) -> None:
    if not _exists(session, slug):
        raise Missing(f"There is no package called “{slug}” in the catalogue.")


def _exists(session: Session, slug: str) -> bool:
    return session.scalar(select(Package.id).filter_by(slug=slug)) is not None


def _checked(session: Session, form: Submission) -> Submission:
    errors = dict(form.errors)
    known = select(category.c.slug).where(category.c.slug == form.category)
    if session.scalar(known) is None:
        errors["category"] = "Choose one of the categories."
    if _exists(session, form.slug):
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
