"""What mapped classes may declare, and what is said about the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Boolean, ForeignKey, func, insert
from sqlalchemy.orm import (
    Mapped,
    Session,
    column_property,
    mapped_column,
    registry,
    relationship,
    sessionmaker,
    synonym,
)

from pagegen.contrib.sqlalchemy import watch
from pagegen.errors import ConfigError
from tests.contrib.sqlalchemy.shop import Note, NotedCache, Shop


@pytest.fixture
def models() -> Iterator[registry]:
    """Classes of this test, gone afterwards: a wrong one would trouble whoever watches next."""
    models = registry()
    yield models
    models.dispose()


def mapped(models: registry, name: str, declared: Any, **attributes: Any) -> Any:
    table = name.lower()
    annotations = {"id": Mapped[int], "shop_id": Mapped[int | None], "on": Mapped[bool]}
    members = {
        "__tablename__": table,
        "__annotations__": annotations,
        "__pagegen__": declared,
        "id": mapped_column(primary_key=True),
        "shop_id": mapped_column(),
        "on": mapped_column("is_on", Boolean),
        **attributes,
    }
    return models.mapped(type(name, (), members))


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("thing:{id}", "is no list of templates"),
        (["thing:{pk}"], "'pk', which is no column of it"),
        (["thing:{other}"], "'other', which is no column of it"),
        (["thing:{size}"], "'size', which is no column of it"),
        (["thing:{is_on}"], "'is_on', which is no column of it"),
        (["thing:{on}"], "'on' is a truth value"),
        ([], "names nothing"),
    ],
)
def test_wrong_declarations_are_told_when_the_watch_begins(
    models: registry, cache: NotedCache, declared: Any, problem: str
) -> None:
    other = {"other": synonym("id"), "size": column_property(func.length("abc"))}
    mapped(models, "Thing", declared, **other)
    models.configure()
    with pytest.raises(ConfigError, match=problem) as caught:
        watch(sessionmaker(), cache)
    assert "Thing" in str(caught.value)
    assert "__pagegen__" in str(caught.value)


def test_classes_that_come_later_are_checked_when_they_are_configured(
    models: registry, cache: NotedCache
) -> None:
    watching = watch(sessionmaker(), cache)
    try:
        mapped(models, "Later", ["later:{pk}"])
        with pytest.raises(ConfigError, match="'pk'"):
            models.configure()
    finally:
        watching.stop()


def test_classes_that_cannot_be_edited_are_declared_at_the_watch(
    make: sessionmaker[Session], cache: NotedCache
) -> None:
    watching = watch(make, cache, classes={Note: ["note:{id}"], Shop: ["shop:{id}"]})
    try:
        with make.begin() as session:
            session.add(Note(id=1))
            session.execute(insert(Note), [{"id": 2}])
        assert cache.told() == ["note:1", "note:2"]
    finally:
        watching.stop()
    with pytest.raises(ConfigError, match="no mapped class"):
        watch(make, cache, classes={int: ["a"]})


def test_a_concrete_subclass_needs_the_columns_of_what_it_inherits(
    models: registry, cache: NotedCache
) -> None:
    parent = mapped(models, "Base", ["base:{shop_id}"])
    members = {
        "__tablename__": "concrete",
        "__mapper_args__": {"concrete": True},
        "id": mapped_column(primary_key=True),
        "__annotations__": {"id": Mapped[int]},
    }
    models.mapped(type("Concrete", (parent,), members))
    models.configure()
    with pytest.raises(ConfigError, match=r"Concrete.*'shop_id', which is no column of it"):
        watch(sessionmaker(), cache)


@pytest.mark.parametrize(
    ("action", "passive", "warns"),
    [("CASCADE", True, True), ("SET NULL", True, True), ("CASCADE", False, False),
     ("CASCADE", None, True), (None, None, False), ("RESTRICT", None, False)],
)  # fmt: skip
def test_rows_that_the_database_changes_by_itself_are_warned_of(
    models: registry,
    cache: NotedCache,
    caplog: pytest.LogCaptureFixture,
    action: str | None,
    passive: bool | None,
    warns: bool,
) -> None:
    """``passive``: that of the parent's relationship, None where it has none."""
    parts = {} if passive is None else {"things": relationship("Thing", passive_deletes=passive)}
    mapped(models, "Parent", ["parent:{id}"], **parts)
    key = mapped_column(ForeignKey("parent.id", ondelete=action))
    mapped(models, "Thing", ["thing:{id}"], shop_id=key)
    models.configure()
    with caplog.at_level(logging.WARNING, "pagegen.contrib.sqlalchemy"):
        watch(sessionmaker(), cache).stop()
    told = [record.getMessage() for record in caplog.records if "Thing" in record.getMessage()]
    assert len(told) == (1 if warns else 0)
    assert not warns or f"{action}" in told[0]
