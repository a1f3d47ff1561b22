"""What mapped classes declare: ``__pagegen__ = ["item:{id}", "shop:{shop_id}/items"]``.

A row is one of its class and of all classes that it inherits from, so it belongs to what each of
them declares. References are mapped columns, for a template must be answered by the row alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Boolean, Column, ForeignKeyConstraint, Table, inspect
from sqlalchemy.orm import Mapper, RelationshipProperty

# No public call lists the mapped classes of all registries; this one is as old as 2.0.
from sqlalchemy.orm.mapper import _all_registries

from ...errors import ConfigError, NamespaceError
from ...forks import fork_safe_lock
from ...logs import logger
from ...namespaces import namespace
from ..declared import Declared, declare
from . import actions

log = logger("pagegen.contrib.sqlalchemy")

FIELD: Final = "__pagegen__"


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Rows of one mapped class.

    key: the attributes of its primary key, in the mapper's order.
    columns: the columns of the key and of all declared attributes.
    mutable: whether a template refers to more than the key, so that a row may have moved since it
        was loaded. live: attributes that the database or a default may set when a row is updated.
    """

    mapper: Mapper[Any]
    declared: Declared
    key: tuple[str, ...]
    columns: Mapping[str, Column[Any]]
    mutable: bool
    live: frozenset[str]

    def names(self, row: Mapping[str, object]) -> tuple[str, ...]:
        """The namespaces of a row."""
        return self.declared.names(row)

    def old_names(self, row: Mapping[str, object]) -> tuple[str, ...]:
        """Those of a row as it was. What can be no name is that of no page, and hinders nobody."""
        found: list[str] = []
        for template in self.declared.templates:
            values = {name: row[name] for name in self.declared.references(template)}
            if all(value is not None for value in values.values()):
                with suppress(NamespaceError):
                    found.append(namespace(template, **values))
        return tuple(found)


class Catalogue:
    """All that is declared, found as mappers are configured. ``classes``: what is declared for
    classes that cannot say it themselves.
    """

    def __init__(self, classes: Mapping[type, Iterable[str]]) -> None:
        for cls in classes:
            if not isinstance(inspect(cls, raiseerr=False), Mapper):
                raise ConfigError(
                    f"{cls!r} is no mapped class", "Give mapped classes", "classes", "watch()"
                )
        self._classes = dict(classes)
        self._lock = fork_safe_lock(self)
        self._kinds: dict[Mapper[Any], Kind | None] = {}
        self._links: dict[Mapper[Any], tuple[RelationshipProperty[Any], ...]] = {}
        self._tables: dict[Table, tuple[Kind, ...]] = {}
        #: Names of declared tables in lower case, without schema.
        self.table_names: frozenset[str] = frozenset()
        #: Names of tables by whose deleted rows the database changes others, and those others.
        self.takes_along: Mapping[str, tuple[str, ...]] = {}
        self._warned: set[tuple[Kind, ForeignKeyConstraint]] = set()

    def gather(self) -> None:
        """See all mappers that are configured. Raises ``ConfigError``."""
        for mapper in _mappers():
            if mapper.configured:
                self.of(mapper)
        self._look_at_actions()

    def of(self, mapper: Mapper[Any]) -> Kind | None:
        """What the rows of this mapper belong to; None where nothing is declared."""
        try:
            return self._kinds[mapper]
        except KeyError:
            kind = self._read(mapper)
        with self._lock:
            if mapper in self._kinds:  # another thread was quicker
                return self._kinds[mapper]
            tables = dict(self._tables)
            for table in () if kind is None else _tables(mapper):
                tables[table] = (*tables.get(table, ()), cast("Kind", kind))
            self._tables = tables
            self.table_names = frozenset(table.name.lower() for table in tables)
            self._kinds[mapper] = kind
        return kind

    def of_table(self, table: object) -> tuple[Kind, ...]:
        """Those whose rows have a part in this table."""
        return self._tables.get(table, ()) if isinstance(table, Table) else ()

    def beside(self, mapper: Mapper[Any]) -> tuple[Kind, ...]:
        """What unrelated classes declare for the tables of this one, which declares nothing."""
        if self.of(mapper) is not None:
            return ()
        found = (kind for table in _tables(mapper) for kind in self.of_table(table))
        return tuple(kind for kind in found if kind.mapper.base_mapper is not mapper.base_mapper)

    def _look_at_actions(self) -> None:
        """Warn of each foreign key by which the database changes declared rows, once."""
        mappers = [mapper for mapper in _mappers() if mapper.configured]
        links, along = actions.secondaries(mappers), dict[str, dict[str, None]]()
        for kind in filter(None, list(self._kinds.values())):
            for key in actions.acting(_tables(kind.mapper), links):
                if actions.deletes(key):
                    parent = along.setdefault(key.referred_table.name.lower(), {})
                    parent[key.table.name] = None
                if (kind, key) not in self._warned:
                    self._warned.add((kind, key))
                    if acts := actions.unloaded(key, mappers):
                        _warn_of_action(kind, key, acts)
        self.takes_along = {name: tuple(others) for name, others in along.items()}

    def links(self, mapper: Mapper[Any]) -> tuple[RelationshipProperty[Any], ...]:
        """Many-to-many relationships of this mapper with a declared class at either end."""
        found = self._links.get(mapper)
        if found is None:
            found = tuple(
                relationship
                for relationship in mapper.relationships
                if relationship.secondary is not None
                and not relationship.viewonly
                and (self.of(mapper) or any(map(self.of, relationship.mapper.self_and_descendants)))
            )
            self._links[mapper] = found
        return found

    def _read(self, mapper: Mapper[Any]) -> Kind | None:
        label = f"{mapper.class_.__module__}.{mapper.class_.__qualname__}"
        said = [
            value
            for cls in mapper.class_.__mro__
            for value in (vars(cls).get(FIELD), self._classes.get(cls))
            if value is not None
        ]
        if not said:
            return None
        known = {
            prop.key: prop.columns[0]
            for prop in mapper.column_attrs
            if isinstance(prop.columns[0], Column) and prop.columns[0].table in _tables(mapper)
        }
        merged = [t for value in said for t in declare(label, value, known, field=FIELD).templates]
        declared = declare(label, dict.fromkeys(merged), known, field=FIELD)
        for name in declared.attributes:
            if isinstance(known[name].type, Boolean):
                raise ConfigError(
                    f"{name!r} is a truth value, which names nothing",
                    "Refer to a number or a text",
                    field=FIELD,
                    where=label,
                )
        key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
        wanted = dict.fromkeys((*key, *declared.attributes))
        columns = {name: known[name] for name in wanted}
        live = frozenset(name for name in declared.attributes if _is_live(columns[name]))
        return Kind(mapper, declared, key, columns, set(columns) > set(key), live)


def _mappers() -> Iterator[Mapper[Any]]:
    for registry in list(_all_registries()):
        yield from list(registry.mappers)


def _tables(mapper: Mapper[Any]) -> tuple[Table, ...]:
    return tuple(table for table in mapper.tables if isinstance(table, Table))


def _is_live(column: Column[Any]) -> bool:
    return any(
        given is not None for given in (column.onupdate, column.server_onupdate, column.computed)
    )


def _warn_of_action(kind: Kind, key: ForeignKeyConstraint, acts: list[str]) -> None:
    log.warning(
        "%s: the database changes rows of %s by itself when one of %s is deleted or gets another "
        "key (%s): no page is forgotten then. Have a relationship without passive_deletes load "
        "them, or say it: pending(session).add(...)",
        kind.declared.label,
        key.table.name,
        key.referred_table.name,
        ", ".join(acts),
    )
