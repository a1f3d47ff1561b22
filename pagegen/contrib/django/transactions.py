"""Forgetting after the commit: what is written in a transaction waits for its outermost end.

Rules of this file:

1. Names wait in the connection's own list of things to do on commit, so Django drops them with the
   savepoint, or with the transaction, that is rolled back.
2. They stand before all others in it: a callback that raises keeps those behind it from running.
3. Which connection a call belongs to is known where it says so. Else it is every one that has a
   transaction, and the names are forgotten after each of their commits.
4. After a commit nothing is raised: the change stands, and the engine owes what was not heard.
5. A commit that raised may stand all the same, when the connection was lost on the way back. Its
   names are forgotten, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any, Final

from django.db import IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from pagegen.cache import PageCache
from pagegen.namespaces import check
from pagegen.verdicts import Invalidation

from ...logs import logger
from .conf import options

log = logger("pagegen.contrib.django")

#: Hooks of a connection that are searched, at either end, for a batch that takes more names.
#: Beyond them a new batch begins: one more trip, and no search that grows with its square.
SEARCHED: Final = 16

_MARK: Final = "_pagegen_knows"


class Batch:
    """Names that are forgotten in one call when the transaction they were written in commits.

    Called by Django, after the commit and outside of any transaction. Raises nothing.
    """

    def __init__(self, cache: PageCache, soft: bool, alias: str) -> None:
        self.cache = cache
        self.soft = soft
        self.alias = alias
        #: Each once, in the order in which they came.
        self.names: dict[str, None] = {}
        #: Rows of the outbox that say the same in the database.
        self.rows: list[str] = []
        #: Names that these rows hold.
        self.shelved: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Take more names, and write those that are new to the outbox if there is one."""
        new = [name for name in dict.fromkeys(names) if name not in self.shelved]
        self.names |= dict.fromkeys(new)
        if new:
            self.rows += _shelve(self.cache, self.alias, new)
            self.shelved |= set(new)

    def absorb(self, other: Batch) -> None:
        """Take over what another one would have forgotten."""
        self.names |= other.names
        self.rows += other.rows
        self.shelved |= other.shelved

    def __call__(self) -> None:
        """Forget the names; what the store does not acknowledge is logged, and owed."""
        if self.forget() and self.rows:
            from pagegen.contrib.outbox import django as outbox  # noqa: PLC0415 - optional

            outbox.settle(self.alias, self.rows)

    def forget(self) -> bool:
        """Forget the names, and leave the outbox alone; whether the store acknowledged that."""
        names = tuple(self.names)
        try:
            PageCache.invalidate(self.cache, *names, soft=self.soft)
        except Exception:
            log.exception(
                "the commit on database %r stands, but pages of %s may still be served elsewhere. "
                "It is tried again; until then this process does not use the cache for them",
                self.alias,
                self.cache.engine.shown(names),
            )
            return False
        return True


def install() -> None:
    """Have the connections of all databases tell what becomes of transactions. May be called again.

    For a backend with a ``commit`` of its own that does not call Django's: call it for that class.
    """
    for name, telling in (
        ("commit", _commits),
        ("run_and_clear_commit_hooks", _runs_hooks),
        ("savepoint_rollback", _rolls_back),
    ):
        method = getattr(BaseDatabaseWrapper, name)
        if not hasattr(method, _MARK):
            known = wraps(method)(telling(method))
            setattr(known, _MARK, True)
            setattr(BaseDatabaseWrapper, name, known)


def _commits(commit: Callable[[Any], None]) -> Callable[[Any], None]:
    def commits(connection: Any) -> None:
        try:
            commit(connection)
        except (IntegrityError, TransactionManagementError):
            raise  # refused: nothing of it stands
        except BaseException:
            # Rows of the outbox stay: they stand, or not, with the change.
            _all(batch.forget for batch in _batches(connection))
            raise

    return commits


def _runs_hooks(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Who breaks off one batch, or a hook of the application's, does not lose the others."""

    def runs_hooks(connection: Any) -> None:
        if connection.in_atomic_block:
            run(connection)  # it refuses that
            return
        hooks, connection.run_on_commit = connection.run_on_commit, []
        others = [entry for entry in hooks if not isinstance(entry[1], Batch)]

        def run_others() -> None:
            connection.run_on_commit = others + connection.run_on_commit
            run(connection)

        # Those of others wait meanwhile: what a batch does to the outbox is committed, too, and
        # their errors are not to end there.
        _all((*(entry[1] for entry in hooks if isinstance(entry[1], Batch)), run_others))

    return runs_hooks


def _rolls_back(rollback: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    """The connection's list knows no savepoint that was made by hand: batches keep their names, but
    their rows of the outbox may be gone.
    """

    def rolls_back(connection: Any, sid: str) -> None:
        rollback(connection, sid)
        for batch in _batches(connection):
            batch.shelved.clear()

    return rolls_back


def _batches(connection: Any) -> list[Batch]:
    return [entry[1] for entry in connection.run_on_commit if isinstance(entry[1], Batch)]


def _all(calls: Iterable[Callable[[], object]]) -> None:
    """Call each in its turn, whatever the others raise; then raise the last of it."""
    with ExitStack() as stack:
        for call in reversed(tuple(calls)):
            stack.callback(call)


def later(
    cache: PageCache, names: Sequence[str], *, soft: bool = False, using: str | None = None
) -> Invalidation | None:
    """Have these namespaces forgotten after the outermost commit; None where no block is open.

    ``using``: the database alias that is written to. None means every connection of this thread
    that is in an ``atomic`` block now. Raises ``NamespaceError`` before anything is kept, and
    ``TransactionManagementError`` for a transaction that is managed by hand, whose commit nobody
    can see.
    """
    checked = tuple(check(name) for name in names)
    open_ones = [connection for connection in _connections(using) if _in_block(connection)]
    if not open_ones:
        return None
    for connection in open_ones:
        _batch(connection, cache, soft).add(checked)
    return Invalidation(tuple(dict.fromkeys(checked)), soft=soft, deferred=True)


def refuse_manual(connection: Any) -> None:
    """Raise ``TransactionManagementError`` where a commit by hand would go unseen."""
    by_hand = (
        not getattr(connection, "commit_on_exit", True)
        if connection.in_atomic_block
        else not connection.get_autocommit()
    )
    if by_hand:
        raise TransactionManagementError(
            f"database {connection.alias!r} has autocommit off: pagegen cannot see when this write "
            "is committed, and to forget before the commit would poison pages. Write inside "
            "transaction.atomic() with autocommit on; or write under "
            "pagegen.contrib.django.guard.accounted() and call cache.invalidate_now() after "
            "the commit"
        )


def _connections(using: str | None) -> Iterator[Any]:
    if using is not None:
        yield connections[using]
    else:
        yield from connections.all(initialized_only=True)


def _in_block(connection: Any) -> bool:
    """Whether names must wait; raises where it cannot be seen for how long."""
    if connection.in_atomic_block:
        refuse_manual(connection)
        return True
    if connection.connection is not None and not connection.autocommit:
        refuse_manual(connection)
    return False


def shelves() -> bool:
    """Whether names are written to the outbox, which needs a transaction for every write."""
    return options().outbox


def waiting(connection: Any) -> int:
    """How many names wait for the commit of this connection, counted among its nearest batches."""
    return sum(len(entry[1].names) for entry in _nearest(connection))


def _nearest(connection: Any) -> list[tuple[Any, ...]]:
    """Our entries among what the connection does on commit, where they are looked for."""
    hooks = connection.run_on_commit
    near = hooks if len(hooks) <= 2 * SEARCHED else (*hooks[:SEARCHED], *hooks[-SEARCHED:])
    return [entry for entry in near if isinstance(entry[1], Batch)]


def _batch(connection: Any, cache: PageCache, soft: bool) -> Batch:
    """The batch that is dropped when any open savepoint is, and only then: found, or begun.

    What a savepoint collected that is released by now belongs to the one around it, and is merged
    with what that one collected: a thousand savepoints in a row are one call on commit.
    """
    if _captured(connection):
        return _begin(connection, cache, soft)
    still_open = set(connection.savepoint_ids) - {None}
    found: dict[frozenset[str], Batch] = {}
    for entry in _nearest(connection):
        batch = entry[1]
        if batch.cache is not cache or batch.soft != soft:
            continue
        level = frozenset(entry[0] & still_open)
        if level not in found:
            found[level] = batch
        else:
            found[level].absorb(batch)
            connection.run_on_commit.remove(entry)
    mine = found.get(frozenset(still_open))
    if mine is None:
        mine = _begin(connection, cache, soft)
        hooks = connection.run_on_commit
        hooks.insert(0, hooks.pop())
    return mine


def _begin(connection: Any, cache: PageCache, soft: bool) -> Batch:
    batch = Batch(cache, soft, connection.alias)
    transaction.on_commit(batch, using=connection.alias)
    return batch


def _captured(connection: Any) -> bool:
    """Whether Django's TestCase holds the transaction, which never commits.

    Its ``captureOnCommitCallbacks`` takes what came last, and runs it while the block is open.
    """
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _shelve(cache: PageCache, alias: str, names: Sequence[str]) -> Sequence[str]:
    """Write the names into the transaction itself, where the settings say ``outbox``; the rows."""
    if not shelves():
        return ()
    from pagegen.contrib.outbox import django as outbox  # noqa: PLC0415 - optional

    rows: Sequence[str] = outbox.write(alias, cache.configuration.settings.site, names)
    return rows
