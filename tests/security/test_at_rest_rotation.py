"""A site key is changed while the site runs: three steps, processes at two of them at any time.

1. ``[old, new]``: the old key still signs, the new one is believed already.
2. ``[new, old]``: the new key signs.
3. ``new``: the old key is gone. ``names_key`` is the old one from step 1 on, for ever.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.config import MAX_KEYS, Settings
from pagegen.debugging import Debugger
from pagegen.stores import Codec, Keyring
from pagegen.stores.names import Names
from pagegen.testing import FakeClock, Front
from pagegen.testing.promises.samples import page
from tests.processes import PATIENCE
from tests.security.vault import KEY, NEXT, RULES, USER, Hands, Site, of_kind

STEPS: Final = (
    Keyring((KEY,)),
    Keyring((KEY, NEXT), KEY),
    Keyring((NEXT, KEY), KEY),
    Keyring((NEXT,), KEY),
)
#: Steps that processes of one deployment may be at together.
TOGETHER: Final = tuple(pairwise(range(len(STEPS))))
PAIRS: Final = pytest.mark.parametrize(
    ("earlier", "later"),
    [*TOGETHER, *((late, early) for early, late in TOGETHER)],
    ids=lambda step: f"step{step}",
)


def sealed(ring: Keyring) -> Keyring:
    return Keyring(ring.secrets, ring.naming, "all")


@PAIRS
@pytest.mark.parametrize("form", [lambda ring: ring, sealed], ids=["signed", "sealed"])
def test_processes_at_two_steps_share_pages_and_hear_each_others_invalidations(
    hands: Hands, site: str, front: Front, earlier: int, later: int, form: Any
) -> None:
    clock = FakeClock()
    with (
        Site(hands, keys=form(STEPS[earlier]), site=site, front=front, clock=clock) as one,
        Site(hands, keys=form(STEPS[later]), site=site, front=front, clock=clock) as other,
    ):
        for user in ("", "ann"):
            path = "/mine/a" if user else "/open/a"
            fields = {"x-user": user} if user else {}
            assert one.get(path, fields).trace == "uri-miss, stored"
            # Nobody loses a page, whoever of the two rendered it.
            assert other.get(path, fields).trace == "hit"
            assert one.get(path, fields).trace == "hit"
        one.version = other.version = "second"
        # Nobody misses an invalidation, whoever of the two made it.
        other.cache.invalidate("thing:a")
        assert one.look("/open/a") == "/open/a of nobody: second"
        assert other.get("/open/a").trace == "hit"
        one.version = other.version = "third"
        one.cache.invalidate("user:ann")
        assert other.look("/mine/a", "ann") == "/mine/a of ann: third"
        assert one.get("/mine/a", {"x-user": "ann"}).trace == "hit"


def test_a_page_is_kept_through_all_steps_but_for_those_that_the_old_key_alone_signed(
    hands: Hands, site: str
) -> None:
    clock = FakeClock()
    with ExitStack() as stack:
        stages = [
            stack.enter_context(Site(hands, keys=ring, site=site, clock=clock)) for ring in STEPS
        ]
        assert stages[0].get("/open/a").trace == "uri-miss, stored"
        assert stages[1].get("/open/a").trace == "hit"
        assert stages[2].get("/open/a").trace == "hit"
        # Signed in step 2, it is good in step 3 and ever after.
        assert stages[2].get("/open/b").trace == "uri-miss, stored"
        assert stages[3].get("/open/b").trace == "hit"
        # What the dropped key has signed is a miss, and each at its own time.
        assert stages[3].get("/open/a").trace == "uri-miss, stored"
        assert len(of_kind(hands, b"p")) >= 2


def test_whoever_has_a_dropped_key_plants_nothing_more(hands: Hands, site: str) -> None:
    with Site(hands, keys=STEPS[3], site=site) as stage:
        before = set(of_kind(hands, b"p"))
        stage.look("/open/a")
        (name,) = set(of_kind(hands, b"p")) - before
        planted = Codec(NEXT).decode(hands.get(name))
        assert planted is not None
        planted.body = b"planted"
        hands.put(name, Codec(KEY).encode(planted, name))
        assert stage.look("/open/a") == "/open/a of nobody: first"


def test_names_stay_the_same_through_all_steps_and_are_unknown_without_the_key() -> None:
    slot = bytes(20)
    found = {
        (names.token("user:ann"), names.page(slot), names.lease(slot))
        for names in (Names("shop", ring) for ring in STEPS)
    }
    assert len(found) == 1
    ((token, at, _),) = found
    for guess in ("", NEXT, "a guess at the key of this site"):
        strange = Names("shop", guess)
        assert strange.token("user:ann")[-24:] != token[-24:]
        # Nor can be told whether the page of a person whom one knows is there.
        assert strange.page(slot)[-27:] != at[-27:]


@PAIRS
def test_writers_and_debuggers_are_known_at_both_steps(
    front: Front, earlier: int, later: int
) -> None:
    clock = FakeClock()
    soft = [Rule(path="/a", share="public", namespaces=["a"], ttl="1h", swr="1m", soft=True)]

    def cache(ring: Keyring) -> PageCache:
        return PageCache(soft, site_key=list(ring.secrets), names_key=ring.naming)

    from pagegen.cache import _imagined

    one, other = cache(STEPS[earlier]), cache(STEPS[later])
    said = one.engine._state.wrote.cookie(clock(), secure=True)[0].partition(";")[0]
    writer = _imagined("/a", headers={"cookie": f"a=1; {said}"})
    assert other.engine._state.wrote.wrote(writer, clock())
    assert not Debugger("another key of twenty characters", clock).allows(
        Debugger(STEPS[earlier].secrets, clock).field(), clock()
    )
    value = Debugger(STEPS[earlier].secrets, clock).field()
    assert Debugger(STEPS[later].secrets, clock).allows(value, clock())
    one.close()
    other.close()


def test_what_a_dropped_key_signed_is_believed_no_more() -> None:
    clock = FakeClock()
    value = Debugger((KEY,), clock).field()
    assert not Debugger((NEXT,), clock).allows(value, clock())
    assert Codec(NEXT).decode(Codec(KEY).encode(page())) is None


WORKER: Final = """
import json, sys
from pagegen import Identity, PageCache, Rule
from pagegen.testing.calling import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
rule = Rule(path="/{thing}", share="public", namespaces=["thing:{thing}"], ttl="1h")
caches = [PageCache([rule], store=sys.argv[1], site_key=keys, names_key=names, cache_status=True,
                    max_delay="5s", site="processes") for keys, names in json.loads(sys.argv[2])]
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [version.encode()]
sites = [PageCacheMiddleware(application, cache=cache) for cache in caches]
version = "0"
for line in sys.stdin:
    step, verb, what = line.split()
    if verb == "get":
        answer = call_wsgi(sites[int(step)], environ("GET", what, {}))
        print(answer.text, answer.trace, sep=" | ", flush=True)
    elif verb == "forget":
        print(bool(caches[int(step)].invalidate(what)), flush=True)
    else:
        version = what
        print("ok", flush=True)
"""


class Worker:
    """A process that can be at any step."""

    def __init__(self, hands: Hands) -> None:
        rings = json.dumps([(ring.secrets, ring.naming) for ring in STEPS])
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, hands.url, rings],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=PATIENCE)

    def ask(self, step: int, verb: str, what: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(step, verb, what, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


def test_a_rolling_deployment_loses_no_page_and_no_invalidation(hands: Hands) -> None:
    """Two real processes: the second is one step ahead, then the first one is."""
    version = 0
    with Worker(hands) as one, Worker(hands) as two:
        assert one.ask(0, "get", "/a") == "0 | uri-miss, stored"
        behind, ahead = one, two
        for old, new in TOGETHER:
            thing = "a" if new < 3 else "b"  # the first one is signed with the dropped key alone
            assert ahead.ask(new, "get", f"/{thing}").endswith("| hit"), (old, new)
            sides = (behind, old), (ahead, new)
            for (writer, at), (reader, there) in (sides, sides[::-1]):
                version += 1
                for worker, step in sides:
                    worker.ask(step, "version", str(version))
                assert writer.ask(at, "forget", f"thing:{thing}") == "True"
                assert reader.ask(there, "get", f"/{thing}") == f"{version} | stale, stored"
                assert writer.ask(at, "get", f"/{thing}") == f"{version} | hit"
            if new == 2:
                ahead.ask(new, "get", "/b")
            behind, ahead = ahead, behind


# What is refused at start.


def mistake(**settings: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Settings(**settings)
    assert caught.value.where == "[pagegen]"
    assert KEY not in str(caught.value)
    return caught.value


def test_several_keys_need_one_for_names() -> None:
    said = mistake(site_key=[KEY, NEXT])
    assert (said.field, "names_key" in said.remedy) == ("site_key", True)
    assert mistake(names_key=KEY).field == "names_key"
    assert "too short" in str(mistake(site_key=KEY, names_key="short"))
    assert "too short" in str(mistake(site_key=[KEY, "short"], names_key=KEY))
    assert "too short" in str(mistake(site_key=[KEY, ""], names_key=KEY))
    assert "twice" in str(mistake(site_key=[KEY, KEY], names_key=KEY))
    assert "list of none" in str(mistake(site_key=[], names_key=KEY))
    many = [f"{KEY}{number}" for number in range(MAX_KEYS + 1)]
    assert "too many" in str(mistake(site_key=many, names_key=KEY))
    assert Settings(site_key=many[:-1], names_key=KEY).secrets == tuple(many[:-1])
    for strange in (7, [7], {KEY: 1}, None, [[KEY]]):
        assert mistake(site_key=strange).field == "site_key"
    with pytest.raises(ValueError, match="a key that stays"):
        Keyring((KEY, NEXT))


def test_each_key_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_KEY", KEY)
    monkeypatch.setenv("NEXT_KEY", NEXT)
    read = Settings(site_key=["env:NEXT_KEY", "env:SITE_KEY"], names_key="env:SITE_KEY")
    assert (read.secrets, read.naming, read.secret) == ((NEXT, KEY), KEY, NEXT)
    assert read == Settings(site_key=("env:NEXT_KEY", "env:SITE_KEY"), names_key="env:SITE_KEY")
    assert hash(read)
    assert "env:ABSENT" not in repr(read) and KEY not in repr(read) and NEXT not in repr(read)
    assert KEY not in repr(Keyring((KEY,), NEXT)) and NEXT not in repr(Keyring((KEY,), NEXT))
    assert "ABSENT, which is not set" in str(mistake(site_key=["env:ABSENT"]))
    monkeypatch.setenv("EMPTY_KEY", "")
    assert "too short" in str(mistake(site_key="env:EMPTY_KEY"))


def test_one_key_names_and_signs_as_before() -> None:
    alone = Settings(site_key=KEY)
    assert (alone.secrets, alone.naming) == ((KEY,), KEY)
    assert (Settings(site_key=[KEY]).secrets, Settings().secrets) == ((KEY,), ())
    assert Names("shop", KEY).prefix == Names("shop", Keyring((KEY,), KEY)).prefix
    stage = PageCache(RULES, identities=[USER], site_key=KEY, names_key=KEY)
    stage.close()
