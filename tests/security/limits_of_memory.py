"""How the limits of what is kept and remembered are hit, and those of waiting and telling."""

from __future__ import annotations

from threading import Event
from typing import Any, Final

from pagegen import PageCache
from pagegen.law.said import said
from pagegen.law.vary import normalised
from pagegen.law.wishes import wishes
from pagegen.messages import GivenFields, ResponseHead
from pagegen.negotiation import preferred
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import Reply
from pagegen.verdicts import Lease
from tests.security.limits import Stage, Trial, gets, hits, page

_HTTP: Final = page(mode="http")
_FEW: Final = range(3)
_MANY: Final = range(3, 60)


def _kept(stage: Stage, rule: Any, fields: list[tuple[str, str]], **more: Any) -> Trial:
    """A few pages, and then too many."""
    site = stage.scenario(rule, **more)
    site.handler = lambda _: Reply(b"page", fields=fields)
    return Trial(site.cache, gets(site, *_FEW), gets(site, *_MANY))


@hits("pagegen.stores.memory.DEFAULT_SIZE", "store_pages_evicted")
def _pages(stage: Stage) -> Trial:
    store = MemoryStore(2**17)
    site = stage.scenario(page(own_url=False), store=store)
    site.handler = lambda _: bytes(20_000)
    return Trial(site.cache, gets(site, *_FEW), gets(site, *_MANY))


@hits("pagegen.stores.memory.TOKEN_SHARE", "store_tokens_evicted")
def _tokens(stage: Stage) -> Trial:
    site = stage.scenario(page(), store=MemoryStore(2**16))

    def forget(numbers: range) -> None:
        for number in numbers:
            site.cache.invalidate(f"n:{number}")

    return Trial(site.cache, lambda: forget(_FEW), lambda: forget(_MANY))


@hits("pagegen.stores.memory.MAX_LEASES", "store_leases_lost")
def _leases(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.memory.MAX_LEASES", 3)
    site = stage.scenario(page(), store=(store := MemoryStore()))

    def take(numbers: range) -> None:
        for number in numbers:
            assert step(store.acquire(b"%d" % number, b"me", 60.0))

    return Trial(site.cache, lambda: take(_FEW), lambda: take(_MANY))


@hits("pagegen.planning.TARGET_BYTES", "remembered_targets_evicted")
def _targets(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.planning.TARGET_BYTES", 8_000)
    return _kept(stage, page(), [])


@hits("pagegen.planning.PLAN_BYTES", "remembered_plans_evicted")
def _plans(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.planning.PLAN_BYTES", 8_000)
    return _kept(stage, page(headers={"x-kind": {}}), [])


@hits("pagegen.variants.LEARNED_BYTES", "remembered_variants_evicted")
def _markings(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.variants.LEARNED_BYTES", 4_000)
    return _kept(stage, _HTTP, [("Vary", "x-kind")])


@hits("pagegen.groups.LEARNED_BYTES", "remembered_groups_evicted")
def _grouped(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.groups.LEARNED_BYTES", 4_000)
    return _kept(stage, page(groups=True), [("Cache-Groups", '"g"')])


@hits("pagegen.flights.MAX_APART", "flights_apart_evicted")
def _apart(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.flights.MAX_APART", 3)
    return _kept(stage, page(), [("Cache-Control", "private")])


@hits("pagegen.state.MAX_LARGE", "remembered_large_evicted")
def _large(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.state.MAX_LARGE", 3)
    return _kept(stage, page(max_body=1), [])


@hits("pagegen.leasing.MAX_ELSEWHERE", "remembered_elsewhere_evicted")
def _elsewhere(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.leasing.MAX_ELSEWHERE", 3)
    cache = stage.scenario(page()).cache
    leasing = cache.engine._state.leasing

    def note(numbers: range) -> None:
        for number in numbers:
            leasing.note_elsewhere(b"%d" % number)

    return Trial(cache, lambda: note(_FEW), lambda: note(_MANY))


class _Stuck(MemoryStore):
    """A store that takes leases back when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    async def release(self, slot: bytes, owner: bytes) -> None:
        assert self.go.wait(20.0)


@hits("pagegen.leasing.MAX_LET_GO", "lease-lapses")
def _let_go(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.leasing.MAX_LET_GO", 3)
    store = _Stuck()
    cache = stage.scenario(page(), store=store).cache

    def let_go(number: int) -> None:
        for _ in range(number):
            cache.engine._state.leasing.let_go(Lease(b"slot", b"me"))

    def too_many() -> None:
        let_go(1)
        store.go.set()

    return Trial(cache, lambda: let_go(3), too_many)


# What parsers remember is the whole process's, so these are filled to their real size. A test
# before this one may have filled them already.


def _remembering(work: Any) -> Trial:
    return Trial(PageCache([page()]), lambda: work(0, 1), lambda: work(1, 1200))


@hits("pagegen.law.vary.REMEMBERED", "remembered_forms_evicted")
def _forms(_stage: Stage) -> Trial:
    return _remembering(lambda a, b: [normalised("accept", f"a/limit{n}") for n in range(a, b)])


@hits("pagegen.negotiation.REMEMBERED", "remembered_preferences_evicted")
def _preferences(_stage: Stage) -> Trial:
    return _remembering(
        lambda a, b: [preferred("accept", f"a/limit{n}", ("a/b",)) for n in range(a, b)]
    )


@hits("pagegen.law.said.MAX_REMEMBERED", "remembered_sayings_evicted")
def _sayings(_stage: Stage) -> Trial:
    return _remembering(
        lambda a, b: [
            said(ResponseHead(200, (("Cache-Control", f"limit={n}"),))) for n in range(a, b)
        ]
    )


@hits("pagegen.law.wishes._REMEMBERED", "remembered_wishes_evicted")
def _wishes(_stage: Stage) -> Trial:
    return _remembering(
        lambda a, b: [wishes(GivenFields({"cache-control": f"limit={n}"})) for n in range(a, b)]
    )
