"""The rows that are written, and the pages on which each of them stands.

This is all that the demo says about forgetting: whoever writes a row through a session that is
watched (`writing.py`) has its namespaces forgotten after the commit.
"""

from sqlalchemy.orm import DeclarativeBase

from demo_app import schema


class Row(DeclarativeBase):
    """A mapped table."""

    metadata = schema.metadata


class Package(Row):
    """A package of the catalogue."""

    __table__ = schema.package
    __pagegen__ = ("package:{slug}", "catalogue")


class Favourite(Row):
    """A package on somebody's list; its own page names who likes it."""

    __table__ = schema.favourite
    __pagegen__ = ("user:{user_id}/favorites", "package:{package_slug}")


class User(Row):
    """Somebody who is listed."""

    __table__ = schema.user
    __pagegen__ = ("users",)
