"""The memcached store: from settings to verbs over a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from ssl import SSLContext, SSLError, create_default_context
from typing import Final, Literal, cast

from ...errors import ConfigError
from ...forks import fork_safe_lock
from ...logs import logger
from ...units import DURATION_REMEDY, parse_duration
from ..base import Store
from ..breaker import Breaker
from ..codec import Codec
from ..keyring import Keyring
from ..names import Names
from ..options import Options
from ..threads import Threaded
from .addresses import parse_addresses
from .blocking import DEFAULT_POOL, DEFAULT_TIMEOUT, BlockingClient
from .inspection import Inspector
from .native import NativeClient
from .ring import Ring
from .verbs import Common, Counters, Verbs

log = logger("pagegen.stores")

Large = Literal["split", "refuse"]
Which = Literal["native", "threads"]

#: Servers at most: each of them is asked when a page's tokens are on it.
MAX_SERVERS: Final = 100
#: Connections to one server at most, as redis-py's pool of 100 is thought of.
MAX_POOL: Final = 1000


class MemcachedStore(Verbs):
    """Pages and tokens on memcached ``servers`` (``h``, ``h:11211``, ``[::1]:11211``, a path).

    timeout: seconds for a verb, connecting included. connect_timeout: a shorter limit for
        connecting alone. pool: connections to each server that threads share.
    large: what becomes of a page over a server's item limit: ``split`` into parts, or ``refuse``.
    client: on event loops, the ``native`` one or pymemcache in ``threads``.
    tls: a context, or None for plain connections. Unix sockets never use it.

    All processes must name the same servers; see :mod:`.ring`. Raises ``ConfigError``.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        site: str = "default",
        site_key: str | Keyring = "",
        timeout: float = DEFAULT_TIMEOUT,
        connect_timeout: float | None = None,
        pool: int = DEFAULT_POOL,
        large: Large = "split",
        client: Which = "native",
        tls: SSLContext | None = None,
    ) -> None:
        _check(timeout, connect_timeout, pool, large, client)
        self._addresses = parse_addresses(servers)
        if len(self._addresses) > MAX_SERVERS:
            raise _wrong("too many servers are named", f"Name {MAX_SERVERS} at most")
        self._breakers = [Breaker(told=partial(_tell, a.text)) for a in self._addresses]
        self._inspector = Inspector(self._addresses)
        self._counters = Counters()
        self._timeout, self._connect_timeout, self._tls = timeout, connect_timeout, tls
        self._which = client
        self._twin: _Twin | None = None
        self._twinning = fork_safe_lock(self, "_twinning")
        self._blocking = BlockingClient(
            self._addresses,
            breakers=self._breakers,
            timeout=timeout,
            connect_timeout=connect_timeout,
            pool=pool,
            ssl=tls,
            check=self._inspector,
        )
        common = Common(
            ring=Ring([address.text for address in self._addresses]),
            names=Names(site, site_key),
            codec=Codec(site_key),
            inspector=self._inspector,
            timeout=timeout,
            split=large == "split",
            count=self._counters.count,
        )
        super().__init__(common, self._blocking)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        site: str = "default",
        site_key: str | Keyring = "",
        directory: Path | None = None,
        now: Callable[[], float] | None = None,
    ) -> MemcachedStore:
        """The store of ``memcached://h1:11211,h2,/run/mc.sock?timeout=50ms&large=split&…``.

        Options: ``timeout``, ``connect_timeout``, ``pool``, ``large``, ``client``, ``tls`` (``on``)
        and ``tls_ca``, a file of certificates, which starts at ``directory``.
        """
        options = Options(url)
        timeout = options.take("timeout", parse_duration, DEFAULT_TIMEOUT, DURATION_REMEDY)
        connect = options.take("connect_timeout", _maybe_duration, None, DURATION_REMEDY)
        pool = options.take("pool", int, DEFAULT_POOL, "Write a number of connections")
        large = options.choose("large", "split", "refuse")
        client = options.choose("client", "native", "threads")
        tls = options.choose("tls", "off", "on")
        authorities = options.take("tls_ca", str, "", "Write the name of a file")
        options.finish()
        if authorities and tls == "off":
            raise options.error("names tls_ca without tls", "Add tls=on")
        return cls(
            options.place.split(",") if options.place else (),
            site=site,
            site_key=site_key,
            timeout=timeout,
            connect_timeout=connect,
            pool=pool,
            large=cast("Large", large),
            client=cast("Which", client),
            tls=_context(authorities, directory or Path()) if tls == "on" else None,
        )

    def on_loop(self) -> Store:
        """See :class:`HasTwin`. With ``client="threads"`` each verb is a hop to a thread."""
        if self._which == "threads":
            return Threaded(self)
        with self._twinning:
            if self._twin is None:
                native = NativeClient(
                    self._addresses,
                    timeout=self._timeout,
                    connect_timeout=self._connect_timeout,
                    breakers=self._breakers,
                    ssl=self._tls,
                    check=self._inspector,
                )
                self._twin = _Twin(self, self._common, native)
        return self._twin

    def statistics(self) -> Mapping[str, int]:
        """See :meth:`Store.statistics`: ``pages_…``, ``breaker_…``, ``blocking_…``, ``loop_…``, and
        ``names_…`` and ``ring_evicted`` of names that are remembered.
        """
        twin = self._twin
        return {
            "servers": len(self._breakers),
            "breaker_opened": sum(breaker.opened for breaker in self._breakers),
            "breaker_open": sum(breaker.is_open for breaker in self._breakers),
            **self._counters.statistics(),
            **self._common.names.statistics(),
            "ring_evicted": self._common.ring.evicted,
            **{f"blocking_{name}": n for name, n in self._blocking.statistics().items()},
            **({f"loop_{name}": n for name, n in twin.counts().items()} if twin else {}),
        }

    def close(self) -> None:
        """See :meth:`Store.close`: this store and its twin."""
        self._blocking.close()
        if self._twin is not None:
            self._twin.close_own()


class _Twin(Verbs):
    """The same verbs on an event loop."""

    def __init__(self, store: MemcachedStore, common: Common, native: NativeClient) -> None:
        super().__init__(common, native)
        self._store = store
        self._native = native

    def counts(self) -> Mapping[str, int]:
        """Counters of the client alone."""
        return self._native.statistics()

    def statistics(self) -> Mapping[str, int]:
        """See :meth:`MemcachedStore.statistics`."""
        return self._store.statistics()

    def close_own(self) -> None:
        """Close the connections of event loops."""
        self._native.close()

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._store.close()


def _tell(server: str, failing: bool, cause: str) -> None:
    if failing:
        log.warning(
            "memcached %s fails (%s): it is left alone, and asked from time to time", server, cause
        )
    else:
        log.warning("memcached %s answers again", server)


def _check(
    timeout: float, connect_timeout: float | None, pool: int, large: str, client: str
) -> None:
    for seconds in (timeout, connect_timeout):
        if seconds is not None and not 0 < seconds <= 60:
            raise _wrong(
                f"a timeout of {seconds:g} s cannot be", "Write more than 0 and at most 60 seconds"
            )
    if not 1 <= pool <= MAX_POOL:
        raise _wrong(f"a pool of {pool} cannot be", f"Write a number from 1 to {MAX_POOL}")
    if large not in ("split", "refuse"):
        raise _wrong(f"large cannot be {large!r}", 'Write "split" or "refuse"')
    if client not in ("native", "threads"):
        raise _wrong(f"client cannot be {client!r}", 'Write "native" or "threads"')


def _wrong(problem: str, remedy: str) -> ConfigError:
    return ConfigError(problem, remedy, field="store")


def _maybe_duration(text: str) -> float | None:
    return parse_duration(text)


def _context(authorities: str, directory: Path) -> SSLContext:
    try:
        return create_default_context(cafile=directory / authorities if authorities else None)
    except (OSError, SSLError) as error:
        raise _wrong(
            f"tls_ca names {authorities!r}, which cannot be read ({error})",
            "Write the name of a file of certificates (PEM)",
        ) from None
