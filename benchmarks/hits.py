"""What a request costs that the cache answers, and one that it does not, on both fronts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pagegen import Identity, PageCache, Rule

from .floors import FRONTS, TYPE, Ask, Front, numbers
from .report import COST_COLUMNS, Table, costs, number
from .timing import Case, Effort, Measured, measure

KILO: Final = 1000
BODY: Final = 10 * KILO
ITEM: Final = "/items/{id:int}"
ETAG: Final = '"v1"'

_QUERY: Final = {
    "start": {"type": "int", "default": 0, "min": 0},
    "end": {"type": "int", "default": 20, "min": 1, "max": 10_000},
}
_KEYED: Final = {
    "headers": {"accept-language": {"values": ["en", "de"], "default": "en"}},
    "cookies": {"theme": {"values": ["light", "dark"], "default": "light"}},
}

CONDITIONAL: Final = Ask().with_header("if-none-match", ETAG)
PATIENT: Final = Ask().with_header("cache-control", "max-age=3600")
SPEAKING: Final = Ask().with_header("x-lang", "de")
CODED: Final = Ask().with_header("if-none-match", "*").with_header("accept-encoding", "gzip")
#: The row that the target is about, and µs that it may add. The machine and its loops for which
#: these were named are not known, so they are held against the µs of the machine at hand, and the
#: loops stand beside them for others to compare.
TARGET_ROW: Final = "hit, 1 namespace"
TARGETS: Final = {"ASGI": 4.0, "WSGI": 3.0}
#: What an application has to say in mode http, where visitors with cookies are asked for.
SHARED: Final = ("Cache-Control", "public, max-age=3600")


class Variant(NamedTuple):
    """One row: a rule, a request under it, and what the cache must count and answer.

    kind: ``same`` asks the same again and again, ``fresh`` with a new scope or environ each time,
    ``new`` for another page each time.  fields: further ones of the application's response.
    glance: whether ``--quick`` has this row.
    """

    name: str
    rule: Mapping[str, Any] = {}
    ask: Ask = Ask()
    counts: str = "hit"
    status: int = 200
    body: int = BODY
    fields: tuple[tuple[str, str], ...] = ()
    kind: str = "same"
    glance: bool = False


def namespaces(count: int) -> dict[str, Any]:
    """Of a rule: so many of them."""
    return {"namespaces": [f"group{n}:{{id}}" for n in range(count)]}


VARIANTS: Final = (
    Variant("hit, 1 namespace", namespaces(1), glance=True),
    Variant("hit, body of 1 kB", namespaces(1), body=KILO),
    Variant("hit, body of 100 kB", namespaces(1), body=100 * KILO),
    Variant("hit, 4 namespaces", namespaces(4)),
    Variant("hit, 16 namespaces", namespaces(16)),
    Variant(
        "hit, 2 query parameters",
        {**namespaces(1), "query": _QUERY},
        Ask(query="start=20&end=40"),
    ),
    Variant("hit, keyed header and cookie", {**namespaces(1), **_KEYED}, glance=True),
    Variant("hit, identity from a cookie", {**namespaces(1), "share": ["user"]}),
    Variant("hit, answered 304", namespaces(1), CONDITIONAL, status=304, glance=True),
    Variant("hit, HEAD", namespaces(1), Ask(method="HEAD")),
    Variant("hit, request says max-age", namespaces(1), PATIENT),
    Variant("hit, mode http", {"mode": "http"}, fields=(SHARED,), glance=True),
    Variant(
        "hit, mode http, varies", {"mode": "http"}, SPEAKING, fields=(SHARED, ("Vary", "X-Lang"))
    ),
    Variant("hit, coded, 304", {**namespaces(1), "compress": ["gzip"]}, CODED, status=304),
    Variant("hit, all objects new", namespaces(1), kind="fresh"),
    Variant("bypass, no rule", namespaces(1), Ask("/other/7"), "bypass:no-rule", glance=True),
    Variant("bypass, POST", namespaces(1), Ask(method="POST"), "bypass:method"),
    Variant("miss, admitted", namespaces(1), Ask("/items/"), "admitted", kind="new", glance=True),
)


def cache_for(variant: Variant) -> PageCache:
    """A cache with this variant's rule alone."""
    rule = Rule(path=ITEM, **{"share": "public", "ttl": "1h", **variant.rule})
    return PageCache([rule], identities=[Identity(name="user", sources=["cookie:session"])])  # type: ignore[arg-type]


def case(front: Front, variant: Variant) -> Case:
    """The variant on a front, checked to do what it says."""
    floor = front.app(b"x" * variant.body, (*TYPE, ("ETag", ETAG), *variant.fields))
    cache = cache_for(variant)
    app = front.wrap(floor, cache)
    prove(front, app, cache, variant)
    name = f"{front.name} {variant.name}"
    if variant.kind == "new":
        return Case(name, *(_numbered(front, a, variant, numbers()) for a in (floor, app)))
    call = front.fresh_call if variant.kind == "fresh" else front.call
    return Case(name, call(floor, variant.ask), call(app, variant.ask))


def _numbered(front: Front, app: Any, variant: Variant, source: Iterator[int]) -> Any:
    return front.numbered_call(app, variant.ask, source)


def prove(front: Front, app: Any, cache: PageCache, variant: Variant) -> None:
    """Raise ``AssertionError`` unless the second request does what the variant says."""
    ask = variant.ask
    if variant.kind == "new":
        ask = Ask(f"{ask.path}1", ask.query, ask.method, ask.headers)
    else:
        asked = ask.headers if variant.fields else Ask().headers
        front.run(app, front.context(Ask(ask.path, ask.query, headers=asked)))
    before = cache.statistics().get(variant.counts, 0)
    status, length = front.answer(app, front.context(ask))
    counted = cache.statistics().get(variant.counts, 0) - before
    bodiless = status == 304 or (ask.method == "HEAD")
    if (counted, status, length) != (1, variant.status, 0 if bodiless else variant.body):
        raise AssertionError(f"{front.name} {variant.name}: {counted=} {status=} {length=}")


def tables(effort: Effort) -> Iterator[Table]:
    """One table a front."""
    for front in FRONTS:
        cases = [case(front, v) for v in VARIANTS if v.glance or not effort.quick]
        results = measure(cases, effort)
        yield Table(
            f"hits-{front.name.lower()}",
            f"{front.name}: one request through pagegen",
            "× floor: against the same application without pagegen, which answers a constant 10 kB "
            "page and does nothing else, so very little is many times its time. The extra is what "
            "pagegen adds to a request, in reference loops and in µs of this machine.",
            ("request", *COST_COLUMNS),
            tuple((name.partition(" ")[2], *costs(result)) for name, result in results.items()),
            (
                target(front, results[f"{front.name} {TARGET_ROW}"]),
                "Called directly: neither server, socket nor event loop is in these figures.",
                '"All objects new": scope or environ is made anew for each request (in floor and '
                "subject alike), so nothing has its hash already. The other rows use one again.",
            ),
        )


def target(front: Front, found: Measured) -> str:
    """Whether a hit adds as little as it should."""
    wanted = TARGETS[front.name]
    aim = f"To reach: at most {wanted:.0f} µs more for {TARGET_ROW}, body of 10 kB."
    if found.extra.noisy:
        return f"{aim} NOT KNOWN: too noisy."
    said = "Reached" if found.extra_us.median <= wanted else "NOT REACHED"
    return (
        f"{aim} {said} here: {number(found.extra_us.median)} µs, which are "
        f"{number(found.extra.median)} loops of {found.loop_ns:.0f} ns."
    )
