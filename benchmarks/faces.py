"""The stores as each front uses them, open and filled, each beside its floor: see ``bare``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from pagegen import PageCache, Rule
from pagegen.asgi.requests import read_request
from pagegen.errors import ConfigError
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.stores.codec import Codec
from pagegen.stores.names import Names
from pagegen.verdicts import Plan

from . import bare
from .bare import Floor, Getter, Ground
from .floors import ASGI, TYPE, WSGI, Answer, Ask, Front, receive, send
from .phases import planner_of
from .servers import MissingError, running
from .timing import Action, batch
from .turns import Group, Timed, alone, crowded

KILO: Final = 1000
NEAR: Final = "64MiB"
#: Of an Ask: what stands before the size. Its namespaces are three.
STEM: Final = "/items/"
RULE: Final = Rule(
    path=f"{STEM}{{id:int}}",
    share="public",
    ttl="1h",
    namespaces=["item:{id}", "shelf:{id}/items", "owner:{id}/favorites"],
)
#: Nanoseconds that a batch takes: without a server, with one, and with many tasks at one time.
_LOCAL_NS, _WAITING_NS, _MANY_NS = 300_000, 1_500_000, 5_000_000
#: How a server is started so that it keeps more than usual: the last ``-m`` counts, in MiB.
_ROOMY: Final = {"memcached": ("sh", "-c", 'exec "$@" -m 2048', "sh")}
#: Counters of requests that were no hits.
_NO_HITS: Final = ("forward", "wait", "stale", "bypass")
# What is compared: with the page from the store, and with the page from the near store.
BARE, HIT, TOKENS, NEAR_HIT = "bare get", "hit", "tokens", "near hit"
#: What stands between the two: the store's own verb.
READ: Final = "read"


class Face(NamedTuple):
    """A store as one front uses it. ``url`` has its place in braces; ``program`` serves there.

    Deadlines are long here: on a busy machine, what missed the default one would be no hit.
    """

    name: str
    front: Front
    url: str
    floor: Floor
    program: str = ""


FACES: Final = (
    Face("memory", WSGI, "memory://", bare.memory),
    Face("LMDB", WSGI, "lmdb://{}?size=64MiB", bare.lmdb),
    Face("memcached", WSGI, "memcached://{}?timeout=1s", bare.pymemcache, "memcached"),
    Face("Redis", WSGI, "redis://{}/0?timeout=1s", bare.redis, "redis-server"),
    Face("memory", ASGI, "memory://", bare.at_once_awaited(bare.memory)),
    Face("LMDB", ASGI, "lmdb://{}?size=64MiB", bare.at_once_awaited(bare.lmdb)),
    Face(
        "memcached, native", ASGI, "memcached://{}?timeout=1s", bare.pipelined_awaited, "memcached"
    ),
    Face(
        "memcached, threads",
        ASGI,
        "memcached://{}?timeout=1s&client=threads",
        bare.pymemcache_awaited,
        "memcached",
    ),
    Face("Redis", ASGI, "redis://{}/0?timeout=1s", bare.redis_awaited, "redis-server"),
)


@dataclass(frozen=True, slots=True)
class Open:
    """A face that is open: a cache without and, where that can be, one with a near store.

    Each has had so many ``pages`` to render.
    """

    face: Face
    getter: Getter
    cache: PageCache
    near: PageCache | None
    ground: Ground
    pages: int

    def caches(self) -> Iterator[PageCache]:
        """Both."""
        yield self.cache
        if self.near is not None:
            yield self.near

    def strayed(self, cache: PageCache) -> float:
        """Share of a cache's requests that were no hits although they were measured as such."""
        counted = cache.statistics()
        strays = sum(n for name, n in counted.items() if name.partition(":")[0] in _NO_HITS)
        hits = counted.get("hit", 0)
        return max(0, strays - self.pages) / max(1, strays + hits)


class Places:
    """Where the stores are: each server is started when it is first asked for. ``roomy``: with
    memory for some million small pages.
    """

    def __init__(self, stack: ExitStack, *, roomy: bool = False) -> None:
        self._stack = stack
        self._roomy = roomy
        self._known: dict[str, str] = {}

    def of(self, program: str) -> str:
        """``host:port`` of a server, or a directory; raises ``MissingError``."""
        if program not in self._known:
            if not program:
                self._known[program] = self._stack.enter_context(TemporaryDirectory())
            else:
                before = _ROOMY.get(program, ()) if self._roomy else ()
                self._known[program] = self._stack.enter_context(running(program, before)).place
        return self._known[program]


def ask(size: int) -> Ask:
    """The request for the page of so many kB."""
    return Ask(f"{STEM}{size}")


def opened(ground: Ground, places: Places, face: Face, sizes: tuple[int, ...]) -> Open:
    """A face with a page of each size in its store, proven.

    Raises ``MissingError`` and ``ConfigError`` for what is not here.
    """
    place = places.of(face.program)
    url = face.url.format(place)
    cache = _cache(ground, url)
    near = _cache(ground, url, near=NEAR) if cache.engine.store.capabilities.shared else None
    held: dict[bytes, bytes] = {}
    for size in sizes:
        for each in (cache, near):
            if each is not None:
                _visit(ground, face, each, size)
        held |= _held(cache, size)
    found = Open(face, face.floor(ground, place, held), cache, near, ground, len(sizes))
    for size in sizes:
        prove(found, size)
    return found


def all_opened(
    ground: Ground, places: Places, front: Front, sizes: tuple[int, ...]
) -> tuple[list[Open], dict[str, str]]:
    """The faces of a front, and why others are missing."""
    found: list[Open] = []
    missing: dict[str, str] = {}
    for face in (face for face in FACES if face.front is front):
        try:
            found.append(opened(ground, places, face, sizes))
        except (ConfigError, MissingError) as error:
            missing[face.name] = " ".join(str(error).split())
    return found, missing


def rule_cache(store: str | MemoryStore, **settings: Any) -> PageCache:
    """A cache with this module's rule."""
    # As the clients' own timeout: a machine that stalls must make no forward of a measured hit.
    return PageCache([RULE], store=store, max_delay="1s", **settings)


def _cache(ground: Ground, url: str, **settings: Any) -> PageCache:
    cache = rule_cache(url, **settings)

    async def close() -> None:
        cache.close()

    ground.stack.callback(lambda: ground.runner.run(close()))
    return cache


def _visit(ground: Ground, face: Face, cache: PageCache, size: int) -> None:
    """Fill the store with this page if it does not have it, and read it once."""
    call = call_of(face.front, cache, size)
    for _ in range(2):
        if face.front is ASGI:
            ground.runner.run(alone(call, 1))
        else:
            call()


def call_of(front: Front, cache: PageCache, size: int) -> Callable[[], Any]:
    """One request for the page of so many kB; under ASGI what it gives has to be awaited."""
    app = front.wrap(front.app(b"x" * (size * KILO), TYPE), cache)
    if front is WSGI:
        return front.call(app, ask(size))
    scope = front.context(ask(size))
    return lambda: app(scope, receive, send)


def _plan(cache: PageCache, size: int) -> Plan:
    plan = planner_of(cache).plan(read_request(ASGI.context(ask(size))))
    assert isinstance(plan, Plan)
    return plan


def keys(cache: PageCache, size: int) -> list[bytes]:
    """The names of three tokens and, at the end, of the page."""
    plan, settings = _plan(cache, size), cache.configuration.settings
    names = Names(settings.site, settings.secret)
    return [*map(names.token, plan.namespaces), names.page(plan.slot)]


def page_of(cache: PageCache, size: int) -> tuple[StoredResponse, list[bytes]]:
    """The page of so many kB and its tokens, from the store."""
    plan = _plan(cache, size)
    page, tokens = step(cache.engine.store.read(plan.slot, plan.namespaces))
    assert page is not None, f"{cache.configuration.settings.store}: the page was not stored"
    return page, [token or b"" for token in tokens]


def _held(cache: PageCache, size: int) -> dict[bytes, bytes]:
    page, tokens = page_of(cache, size)
    return dict(zip(keys(cache, size), [*tokens, Codec().encode(page)], strict=True))


# Proving, and timing ------------------------------------------------------------------------


def prove(found: Open, size: int) -> None:
    """Raise ``AssertionError`` unless both sides do the same work: hits, and gets that find."""
    for cache, counter in zip(found.caches(), ("hit", "store_near_hits"), strict=False):
        before = cache.statistics()
        sent = _bytes_sent(found, cache, size)
        after = cache.statistics()
        counted = after[counter] - before.get(counter, 0)
        if (counted, sent) != (1, size * KILO):
            raise AssertionError(f"{found.face.name}, {size} kB: {counter} {counted=} {sent=}")
    wanted = keys(found.cache, size)
    answer = _got(found, wanted)
    whole = all(answer) and Codec().decode(answer[-1]) is not None
    if not whole:
        raise AssertionError(f"{found.face.name}, {size} kB: the bare get finds something else")


def _bytes_sent(found: Open, cache: PageCache, size: int) -> int:
    front = found.face.front
    return answer(found.ground, front, front.wrap(front.app(b"", TYPE), cache), ask(size)).length


def answer(ground: Ground, front: Front, app: Any, wanted: Ask) -> Answer:
    """One request, and what came of it."""
    if front is WSGI:
        return front.answer(app, front.context(wanted))
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await app(front.context(wanted), receive, keep)

    ground.runner.run(run())
    return Answer(sent[0]["status"], sum(len(message.get("body", b"")) for message in sent))


def _got(found: Open, wanted: list[bytes]) -> list[Any]:
    action = found.getter(wanted)

    async def run() -> Any:
        return await action()

    answer = found.ground.runner.run(run()) if found.face.front is ASGI else action()
    return bare.values(answer, wanted)


def group(found: Open, size: int, *, many: bool = False) -> Group:
    """What is compared for one page on one face."""
    wanted = keys(found.cache, size)
    calls = {BARE: found.getter(wanted), HIT: call_of(found.face.front, found.cache, size)}
    if found.near is not None:
        calls[TOKENS] = found.getter(wanted[:-1])
        calls[NEAR_HIT] = call_of(found.face.front, found.near, size)
    timed = {name: timed_call(found, call, many=many) for name, call in calls.items()}
    pairs = ((HIT, BARE), (NEAR_HIT, TOKENS)) if found.near is not None else ((HIT, BARE),)
    batch_ns = _MANY_NS if many else batch_ns_of(found.face)
    return Group(f"{found.face.name}, {size} kB", timed, pairs, batch_ns)


def split(found: Open, size: int) -> Iterator[Group]:
    """What is compared to see where a hit's time goes, without and with a near store."""
    wanted = keys(found.cache, size)
    for cache, gets in zip(found.caches(), (wanted, wanted[:-1]), strict=False):
        calls = {
            BARE: found.getter(gets),
            READ: _reading(found.face.front, cache, size),
            HIT: call_of(found.face.front, cache, size),
        }
        timed = {name: timed_call(found, call) for name, call in calls.items()}
        near = ", near" if cache is found.near else ""
        pairs = ((READ, HIT), (BARE, HIT))
        yield Group(f"{found.face.name}{near}", timed, pairs, batch_ns_of(found.face))


def _reading(front: Front, cache: PageCache, size: int) -> Callable[[], Any]:
    """The store's ``read`` alone, as this front's engine calls it."""
    plan = _plan(cache, size)
    if front is WSGI:
        store = cache.engine.store
        return lambda: step(store.read(plan.slot, plan.namespaces))
    on_loop = cache.on_loop.store
    return lambda: on_loop.read(plan.slot, plan.namespaces)


def batch_ns_of(face: Face) -> int:
    """Nanoseconds that a batch on this face shall take."""
    return _WAITING_NS if face.program else _LOCAL_NS


def timed_call(found: Open, call: Action, *, many: bool = False) -> Timed:
    """How a call on this face is timed."""
    if found.face.front is WSGI:
        return partial(batch, call)
    way = crowded if many else alone
    return lambda times: found.ground.runner.run(way(call, times))  # type: ignore[arg-type]
