"""A run from its first request to its verdict: load, faults, judgement as it goes."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final, Literal, TextIO

from ...errors import ConfigError
from ...stepping import step
from . import faults as trouble
from .clients import CLIENTS, WRITES, Client, Log, Place, visiting
from .events import Recovery, Terms, write_events, write_terms
from .faults import Fault
from .judging import Judge
from .network import proxied
from .sample.site import open_cache
from .targets import SampleTargets, Targets, YourTargets
from .verdict import Verdict
from .wire import PATIENCE
from .workers import WORKERS, Server, Workers, WorkersError, serving

Faults = Literal["none", "workers", "network", "all"]

#: Seconds between two looks at what happened.
TICK: Final = 0.25
#: Seconds for which a store may not answer at first, on a machine that is busy.
STARTS_WITHIN: Final = 1.0
#: Requests after which a run ends, and bytes after which its history is not written any more.
MAX_REQUESTS: Final = 20_000_000
MAX_RECORD: Final = 2**30
#: Map of the LMDB store that a run makes for itself.
OWN_SIZE: Final = "256MiB"
#: The number of the client that looks whether all is well again.
RECOVERING: Final = -1
_DEFAULT_PORTS: Final = {"redis": 6379, "memcached": 11211}
_ADDRESS: Final = re.compile(r"(?P<scheme>redis|memcached)://(?P<who>[^/?@]*@)?(?P<host>[^/?,]+)")


class SetupError(Exception):
    """What was asked for cannot be run; the text says why, and what to do."""


@dataclass(slots=True)
class Outcome:
    """A run: as long as it lasts, what is known so far; ``verdict`` comes at its end. ``cut``: its
    history was too long to be written to its end.
    """

    terms: Terms
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    interrupted: bool = False
    cut: bool = False
    verdict: Verdict | None = None


Watch = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how hard. ``record``: an open file for the history."""

    seconds: float = 60.0
    requests: int = MAX_REQUESTS
    clients: int = CLIENTS
    writes: float = WRITES
    seed: int = 0
    record: TextIO | None = None


class _Run:
    """What clients tell goes through here: recorded, judged, counted, shown."""

    def __init__(self, limits: Limits, terms: Terms, watch: Watch) -> None:
        self.log = Log()
        self.judge = Judge(terms)
        self.outcome = Outcome(terms)
        self._limits = limits
        self._watch = watch
        self._record = limits.record
        self._began = monotonic()
        if self._record is not None:
            write_terms(self._record, terms)

    def look(self) -> None:
        """Judge what happened since the last time."""
        events = self.log.take()
        if self._record is not None:
            write_events(self._record, events)
            if self._record.tell() > MAX_RECORD:
                self._record, self.outcome.cut = None, True
        self.judge.add(events)
        self.outcome.counts = self.judge.counts
        self.outcome.seconds = monotonic() - self._began
        self._watch(self.outcome)

    def last(self, over: threading.Event) -> None:
        """Look again and again until the time or the requests are used up, or it is over."""
        self._began = monotonic()
        while (
            monotonic() - self._began < self._limits.seconds
            and self.log.requests < self._limits.requests
            and not over.wait(TICK)
        ):
            self.look()

    def end(self) -> Outcome:
        """The verdict."""
        self.look()
        self.outcome.verdict = self.judge.verdict()
        return self.outcome


@contextmanager
def _interruptible(outcome: Outcome) -> Iterator[None]:
    """Ctrl-C ends the block and leaves what there is."""
    try:
        yield
    except KeyboardInterrupt:
        outcome.interrupted = True


class Injector:
    """Faults from a thread of their own while the block runs. Raises what they raised."""

    def __init__(self, faults: Sequence[Fault], happened: Counter[str], seed: int) -> None:
        self.over = threading.Event()
        self._faults = faults
        self._happened = happened
        self._seed = seed
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._inject)

    def __enter__(self) -> Injector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(2 * PATIENCE)
        if self._failure is not None:
            raise SetupError(f"a fault could not be injected: {self._failure}") from self._failure

    def _inject(self) -> None:
        try:
            for name in trouble.schedule(self._faults, self.over, self._seed):
                self._happened[name] += 1
        except Exception as error:
            self._failure = error
            self.over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The sample application under real workers. ``store`` empty: LMDB in a directory of ours."""

    store: str = ""
    near: str = ""
    server: Server = "gunicorn"
    workers: int = WORKERS
    faults: Faults = "none"
    mistake: str = ""
    herd: float = 0.0
    options: tuple[str, ...] = ()


def run_own(own: Own, limits: Limits, watch: Watch) -> Outcome:
    """Start workers, load them, maltreat them, judge. Raises ``SetupError``."""
    kills = own.faults in ("workers", "all")
    run = _Run(limits, Terms(herd=own.herd, breaks=kills), watch)
    with ExitStack() as stack, _interruptible(run.outcome):
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pagegen-check-")))
        store = own.store or f"lmdb://{folder / 'pages'}?size={OWN_SIZE}"
        site = f"check-{token_hex(8)}"
        _try(store, own, site)
        faults: list[Fault] = []
        if own.faults in ("network", "all"):
            store = stack.enter_context(_behind_a_proxy(store, own.faults, faults))
        try:
            served = stack.enter_context(_serve(own, folder, store, site))
        except WorkersError as error:
            raise SetupError("\n".join((str(error), *getattr(error, "__notes__", ())))) from error
        if kills:
            faults += _of_workers(served, limits.seed)
        if not own.store and own.faults == "all":
            faults += trouble.of_directory(folder / "pages", served)
        _storm(run, Place(served.port), SampleTargets(), faults, limits)
        if not run.outcome.interrupted:
            run.log.tell(recovery(run.log, served))
    return run.end()


def _serve(own: Own, folder: Path, store: str, site: str) -> AbstractContextManager[Workers]:
    return serving(
        own.server, folder, store, near=own.near, site=site, mistake=own.mistake,
        workers=own.workers, options=own.options,
    )  # fmt: skip


def _storm(
    run: _Run, place: Place, targets: Targets, faults: Sequence[Fault], limits: Limits
) -> None:
    """Clients and faults, as long as the limits say, or until Ctrl-C."""
    with (
        visiting(
            place, run.log, targets=targets, clients=limits.clients, writes=limits.writes,
            seed=limits.seed, alone=isinstance(targets, YourTargets),
        ),
        Injector(faults, run.outcome.faults, limits.seed) as injector,
        _interruptible(run.outcome),
    ):  # fmt: skip
        run.last(injector.over if faults else threading.Event())
    run.look()


def recovery(log: Log, served: Workers) -> Recovery:
    """Whether writes are acknowledged and pages are hits again soon after all faults are over."""
    client, page = Client(served.port, RECOVERING, log), SampleTargets().detail_of("0")
    wanted, in_a_row, said = 4 * served.count, 0, ""
    until = monotonic() + PATIENCE
    try:
        while in_a_row < wanted and monotonic() < until:
            written = client.write("0")
            client.read(page)
            read = client.read(page)
            well = written is not None and written.outcome == "kept" and read.how.startswith("hit")
            in_a_row = in_a_row + 1 if well else 0
            if not well:
                outcome = written.outcome if written is not None else "not tried"
                said = f"lately a write was {outcome}, and a page {read.how or read.status}"
    finally:
        client.close()
    return Recovery(well=in_a_row >= wanted, said=said)


def _try(store: str, own: Own, site: str) -> None:
    """Open the store as the workers will, and ask it something. Raises ``SetupError``."""
    try:
        cache = open_cache(store, own.near, site=site, mistake=own.mistake)
    except ConfigError as error:
        raise SetupError(str(error)) from error
    until = monotonic() + STARTS_WITHIN
    try:
        while True:
            try:
                step(cache.engine.store.read(None, ("check/start",)))
            except Exception as error:
                if monotonic() > until:
                    raise SetupError(f"the store does not answer: {error}") from error
                sleep(TICK)
            else:
                return
    finally:
        cache.close()


@contextmanager
def _behind_a_proxy(store: str, asked: Faults, faults: list[Fault]) -> Iterator[str]:
    """The store's URL with a faulty proxy in it, before the first of its servers."""
    found = _ADDRESS.match(store)
    if found is None:
        if asked == "network":
            raise SetupError(
                "--faults network needs a store behind a network: redis://HOST:PORT or "
                "memcached://HOST:PORT, without TLS"
            )
        yield store  # of all faults, those that there are
        return
    host, mark, port = found["host"].rpartition(":")
    if not mark or not port.isdigit():
        host, port = found["host"], str(_DEFAULT_PORTS[found["scheme"]])
    with proxied(int(port), host.strip("[]")) as proxy:
        faults += trouble.of_network(proxy)
        yield f"{store[: found.start('host')]}127.0.0.1:{proxy.port}{store[found.end('host') :]}"


def _of_workers(served: Workers, seed: int) -> list[Fault]:
    try:
        served.pids()
    except OSError as error:
        raise SetupError(f"--faults workers needs /proc, as on Linux: {error}") from error
    return [*trouble.of_workers(served, seed), *trouble.of_kills(served, seed)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Yours:
    """Where a running application is, what may be asked of it, and what it promises."""

    place: Place
    targets: YourTargets
    terms: Terms


def run_yours(yours: Yours, limits: Limits, watch: Watch) -> Outcome:
    """Load an application that is running already, and judge. Raises ``SetupError``."""
    run = _Run(limits, yours.terms, watch)
    with _interruptible(run.outcome):
        _look_round(yours)
        _storm(run, yours.place, yours.targets, (), limits)
    return run.end()


def _look_round(yours: Yours) -> None:
    """Every page must be there and tell a version before anything is judged."""
    client = Client(yours.place, 0, Log(), targets=yours.targets)
    try:
        for ask in yours.targets.pages():
            read = client.read(ask)
            if read.status != 200 or read.flaw:
                what = read.flaw or _STATUS.get(read.status, f"status {read.status}")
                raise SetupError(f"GET {ask.target}: {what}")
            for item, version in read.versions:
                yours.targets.began(item, version)
    finally:
        client.close()


_STATUS: Final = {0: "no answer", -1: "nobody listens, or the connection broke"}
