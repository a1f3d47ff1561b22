"""What one write changes: the rows of its table before and after, and their namespaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from typing import Any, Final, TypeAlias

from django.db import (
    DataError,
    Error,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    connections,
    models,
    transaction,
)
from django.db.models import sql

from . import transactions
from .caches import get_cache
from .guard import UnseenWriteError, accounted
from .plans import Plan, Watched, are_keys, is_exact

#: Rows of one statement, and names that wait for one commit. 10,000 names are some 500 kB and one
#: call to the store of about 0.1 s; what changes more has a namespace for all of it, or is refused.
MAX_ROWS: Final = 10_000
MAX_NAMES: Final = 10_000
#: Values in one condition: SQLite before 3.32 takes 999.
CHUNK: Final = 500

#: What a database says when it has not done a statement; any other error may come after it.
_REFUSED: Final = (IntegrityError, DataError, ProgrammingError, NotSupportedError)

#: Values of a row, keyed by the ``attname`` of their fields.
Row: TypeAlias = Mapping[str, object]


class Lock(Enum):
    """What rows are locked for when they are read, until the transaction ends.

    WRITTEN: ours writes them.  KEPT: their names must stay what they are. Others may keep them,
    too, so that who tags different items with the same tags does not wait, nor clash.
    """

    WRITTEN = "written"
    KEPT = "kept"


class Change:
    """One statement that writes rows of one model's table on one database.

    Raises, before anything is written, ``TransactionManagementError`` where its commit could not be
    seen, and ``ConfigError`` where there can be no cache.
    """

    def __init__(self, plan: Plan, model: type[Any], using: str) -> None:
        self.plan = plan
        self.model: type[Any] = model._meta.concrete_model
        self.using = using
        self.connection = connections[using]
        self.pk = self.model._meta.pk
        self._names: dict[Watched, dict[str, None]] = {}
        transactions.refuse_manual(self.connection)
        self._cache = get_cache()

    @property
    def by_key(self) -> bool:
        """Whether the primary keys say all there is to know."""
        columns = self.plan.columns
        alone = not (self.plan.below or self.plan.ends) and all(f is self.pk for f in columns)
        return alone and is_exact(self.pk)

    def transaction(self, needed: bool = True) -> AbstractContextManager[Any]:
        """The transaction to write in: the one that is open, or one for this statement."""
        if self.connection.in_atomic_block:
            return nullcontext()
        if not (needed or transactions.shelves()):
            return self._alone()
        block: AbstractContextManager[Any] = transaction.atomic(using=self.using)
        return block

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One statement that is its own transaction: it may stand though its answer was lost."""
        try:
            yield
        except BaseException as error:
            of_database = isinstance(error, Error | OSError) and not isinstance(error, _REFUSED)
            if of_database or not isinstance(error, Exception):
                self.forget()
            raise

    def lock_table(self) -> None:
        """Let nobody else write from here on, where rows cannot be locked one by one.

        A transaction of SQLite that reads first and writes then fails when another one wrote in
        between. So it writes first: nothing, but that waits its turn.
        """
        if self.connection.features.has_select_for_update or self.connection.vendor != "sqlite":
            return
        quote = self.connection.ops.quote_name
        table, column = quote(self.model._meta.db_table), quote(self.pk.column)
        with accounted(), self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")  # noqa: S608 - names

    def read(self, condition: sql.Query, *, keys: bool = False) -> list[Row] | None:
        """The rows that a statement's condition meets, locked; None where they are too many.

        ``keys``: they will be deleted, or get other keys.
        """
        self.lock_table()
        rows = self._locked(_meeting(condition, self.using), keys)
        found = self._values(rows[: MAX_ROWS + 1])
        return found if len(found) <= MAX_ROWS else None

    def read_by(
        self, field: Any, values: Iterable[object], *, lock: Lock | None = None
    ) -> list[Row]:
        """The rows whose field is one of the values."""
        found: list[Row] = []
        wanted = list(dict.fromkeys(value for value in values if value is not None))
        for start in range(0, len(wanted), CHUNK):
            some = {f"{field.attname}__in": wanted[start : start + CHUNK]}
            rows = models.QuerySet(self.model, using=self.using).filter(**some)
            if lock is Lock.KEPT:
                found += self._kept(rows)
            else:
                found += self._values(self._locked(rows, False) if lock else rows)
        return found

    def read_where(self, wanted: models.Q, *, lock: bool) -> list[Row]:
        """The rows that a condition of ours meets."""
        rows = models.QuerySet(self.model, using=self.using).filter(wanted)
        return self._values(self._locked(rows, False) if lock else rows)

    def see(self, rows: Sequence[Row], *, lock: Lock | None = None) -> None:
        """The rows' namespaces, also those by tables below and beside, are to be forgotten."""
        self.see_own(rows)
        self.see_below([row[self.pk.attname] for row in rows], lock=lock)
        self.see_ends(rows, lock=lock)

    def see_own(self, rows: Iterable[Row]) -> None:
        """The namespaces of rows of this table."""
        for row in rows:
            for watched in self.plan.own:
                self._add(watched, watched.names(row))

    def see_below(self, keys: Sequence[object], *, lock: Lock | None = None) -> None:
        """The namespaces of rows that inherit those with these primary keys."""
        for watched in self.plan.below:
            below = Change(Plan(own=(watched,)), watched.model, self.using)
            below.see_own(below.read_by(self.pk, keys, lock=lock))
            self._join(below)

    def see_ends(self, rows: Iterable[Row], *, lock: Lock | None = None) -> None:
        """The namespaces of the rows that these, of a many-to-many table, relate.

        With ``lock`` they are kept: theirs must be the same when ours are committed.
        """
        rows, lock = list(rows), lock and Lock.KEPT
        for field, plan in self.plan.ends:
            end = Change(plan, field.related_model, self.using)
            values = [row[field.attname] for row in rows]
            if end.by_key and field.target_field is end.pk:
                keys = (spelled(end.pk, value) for value in values if value is not None)
                end.see_own({end.pk.attname: key} for key in keys)
            else:
                end.see(end.read_by(field.target_field, values, lock=lock), lock=lock)
            self._join(end)

    def everything(self) -> None:
        """Too many rows, or unknown ones: the namespaces of all rows, without references.

        Raises ``UnseenWriteError`` where a model has none. Called before anything is written.
        """
        self._names.clear()
        for watched in self.plan.everyone():
            if not watched.declared.general:
                raise UnseenWriteError(
                    f"a write to {self.model._meta.label} would change more than {MAX_ROWS} rows, "
                    f"or rows that cannot be known, and {watched.declared.label} declares no "
                    "namespace for all of its rows. Nothing was written. Write in smaller parts, "
                    'or declare one such as "items" and name it in the rules of their pages'
                )
            self._add(watched, watched.declared.general)

    def nothing(self) -> None:
        """No row was written."""
        self._names.clear()

    def forget(self) -> None:
        """Forget what was seen: after the commit, or now where no transaction is open."""
        if not self._names:
            return
        cache = self._cache
        crowded = transactions.waiting(self.connection) > MAX_NAMES
        names: dict[str, None] = {}
        for watched, found in self._names.items():
            general = watched.declared.general
            names |= dict.fromkeys(general) if crowded and general else found
        if transactions.later(cache, tuple(names), using=self.using) is None:
            batch = transactions.Batch(cache, False, self.using)
            batch.names = names
            batch()

    def _add(self, watched: Watched, names: Iterable[str]) -> None:
        self._names.setdefault(watched, {}).update(dict.fromkeys(names))

    def _join(self, other: Change) -> None:
        for watched, names in other._names.items():
            self._add(watched, names)

    def _locked(self, rows: models.QuerySet[Any], keys: bool) -> models.QuerySet[Any]:
        """In the order of their keys, so that two who lock the same rows wait and do not clash.

        Without ``keys`` who refers to a row by a foreign key need not wait.
        """
        features = self.connection.features
        rows = rows.order_by("pk")
        if not features.has_select_for_update:
            return rows
        return rows.select_for_update(no_key=not keys and features.has_select_for_no_key_update)

    def _kept(self, rows: models.QuerySet[Any]) -> list[Row]:
        """Rows as they will be until we have committed, since nobody else can change their names.

        Names that are made of keys change by no update that PostgreSQL lets pass FOR KEY SHARE, so
        that not even other columns are locked. Other databases lock them as if they were written.
        """
        if self.connection.vendor != "postgresql":
            return self._values(self._locked(rows, False))
        clause = " FOR KEY SHARE" if are_keys(self.plan.columns) else " FOR SHARE"
        with self.connection.execute_wrapper(_ending(clause)):
            return self._values(rows.order_by("pk"))

    def _values(self, rows: models.QuerySet[Any]) -> list[Row]:
        fields = dict.fromkeys((self.pk.attname, *(f.attname for f in self.plan.columns)))
        return [dict(zip(fields, row, strict=True)) for row in rows.values_list(*fields)]


def keys_named(condition: sql.Query) -> list[object] | None:
    """The primary keys that a condition consists of; None where it says something else."""
    node: Any = condition.where
    while hasattr(node, "children"):
        if node.negated or len(node.children) != 1:
            return None
        node = node.children[0]
    target = getattr(getattr(node, "lhs", None), "target", None)
    if target is None or target is not condition.get_meta().pk or hasattr(node.rhs, "as_sql"):
        return None
    if node.lookup_name not in ("exact", "in"):
        return None
    keys = [node.rhs] if node.lookup_name == "exact" else list(node.rhs)
    return None if any(hasattr(key, "_meta") or isinstance(key, tuple) for key in keys) else keys


def _ending(clause: str) -> Callable[..., Any]:
    """Puts behind a query what Django's own cannot say."""

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        return run(sql + clause, *rest)

    return execute


def spelled(field: Any, value: Any) -> object:
    """A value that is about to be written, as it will be read."""
    while field.is_relation:
        field = field.target_field
    return None if value is None else field.to_python(value)


def _meeting(condition: sql.Query, using: str) -> models.QuerySet[Any]:
    """The rows that the condition of an UPDATE or DELETE meets.

    One over several tables, or with groups, stands inside: such rows cannot be locked.
    """
    inner = condition.chain(klass=sql.Query)
    inner.get_initial_alias()
    inner.clear_ordering(force=True)
    inner.select_related = False
    rows: models.QuerySet[Any] = models.QuerySet(condition.model, query=inner, using=using)
    simple = not inner.annotations and not inner.distinct and inner.group_by is None
    if simple and inner.count_active_tables() == 1:
        return rows
    outer = models.QuerySet(condition.model._meta.concrete_model, using=using)
    return outer.filter(pk__in=rows.values("pk"))
