"""The debug header and the cookie of writers under attack: replayed, forged, swapped, tossed."""

from __future__ import annotations

import ast
import hmac
import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import pytest

import pagegen
from pagegen import Rule
from pagegen.debugging import DEFAULT_VALIDITY, MAX_VALIDITY, Debugger
from pagegen.messages import GivenFields, Request
from pagegen.stores.names import derive
from pagegen.testing import Answer, Front, Reply, Scenario, Seen
from pagegen.wrote import MARGIN, MAX_AHEAD, Wrote
from tests.conftest import MakeScenario

KEY: Final = "a secret of the site"
OTHER: Final = "the secret of another"
NOW: Final = 1_700_000_000.0
SWR: Final = 30
PACKAGE: Final = Path(pagegen.__file__).parent
PUBLIC = Rule(
    path="/pages/{id}", share="public", namespaces=["page:{id}"], ttl=600, swr=SWR, soft=True
)
MINE = Rule(path="/mine", share=["user"], ttl=60)
WHO = pagegen.Identity(name="user", sources=["header:x-user"])


def silent(scenario: MakeScenario, **settings: Any) -> Scenario:
    given = {"cache_status": False, "site_key": KEY, "identities": [WHO]} | settings
    return scenario(PUBLIC, MINE, **given)


def tells(answer: Answer) -> bool:
    return answer.get("cache-status") is not None


# Purposes -------------------------------------------------------------------------------------


def constants() -> Iterator[bytes]:
    """What keys are derived for, and what digests are personalised with, in the whole package."""
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func)
            values = [*call.args, *(word.value for word in call.keywords if word.arg == "person")]
            if name in ("derive", "derive_all") or name.endswith("blake2b"):
                yield from (
                    value.value
                    for value in values
                    if isinstance(value, ast.Constant) and isinstance(value.value, bytes)
                )


PURPOSES = sorted(constants())


def test_no_two_keys_have_one_purpose() -> None:
    assert len(PURPOSES) == len(set(PURPOSES)) >= 6
    assert all(purpose.startswith(b"pagegen ") and len(purpose) <= 16 for purpose in PURPOSES)
    keys = {derive(KEY, purpose) for purpose in PURPOSES}
    assert len(keys) == len(PURPOSES)
    assert KEY.encode() not in keys


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("digest_size", [16, 20, 32])
def test_what_another_purposes_key_signed_is_no_debug_value_and_no_cookie(
    purpose: bytes, digest_size: int
) -> None:
    until = str(int(NOW + 60))
    said = blake2b(f"{until}:shop".encode(), digest_size=digest_size, key=derive(KEY, purpose))
    value = f"{until}.{said.hexdigest()[:32]}"
    good = digest_size == 16
    debug = Debugger(KEY, lambda: NOW, site="shop")
    assert debug.allows(value, NOW) is (good and purpose == b"pagegen debug")
    wrote = Wrote(KEY, site="shop", window=SWR)
    name = wrote.cookie(NOW, secure=False)[0].partition("=")[0]
    assert wrote.wrote(sending(f"{name}={value}"), NOW) is (good and purpose == b"pagegen wrote")


def sending(jar: str) -> Request:
    return Request("GET", "http", "", "/", None, "", GivenFields({"cookie": jar}), {})


def test_neither_value_stands_for_the_other(front: Front, scenario: MakeScenario) -> None:
    stage = silent(scenario)
    stage.handler = soft_site(stage)
    jar = written(stage)
    name, value = stage.cache.debug_header()
    cookie, _, signed = jar.partition("=")
    assert not tells(stage.get("/pages/1", {name: signed}))
    stage.cache.invalidate("page:1", soft=True)
    assert stage.get("/pages/1", {"cookie": f"{cookie}={value}"}).get("age") is not None  # old


# The debug header -----------------------------------------------------------------------------


def at(stage: Scenario, target: str, method: str = "GET", **fields: str) -> Answer:
    return stage.request(method, target, {"x-user": "ada"} | fields)


@pytest.mark.parametrize("target", ["/pages/1", "/pages/2", "/mine", "/elsewhere"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_value_that_is_used_again_tells_until_its_end_and_not_behind_it(
    scenario: MakeScenario, target: str, method: str
) -> None:
    """It is one site's for a time, not one request's: a search for a fault follows redirects."""
    stage = silent(scenario)
    name, value = stage.cache.debug_header()
    for _ in range(3):
        assert tells(at(stage, target, method, **{name: value}))
    stage.clock.advance(DEFAULT_VALIDITY - 1)
    assert tells(at(stage, target, method, **{name: value}))
    stage.clock.advance(1)
    assert not tells(at(stage, target, method, **{name: value}))
    stage.clock.advance(1e9)
    assert not tells(at(stage, target, method, **{name: value}))


@pytest.mark.parametrize("host", ["testserver", "another.example"])
def test_a_value_opens_no_page_and_changes_none(scenario: MakeScenario, host: str) -> None:
    """What it tells of somebody's page it tells to that somebody alone."""
    stage = silent(scenario)
    stage.handler = lambda seen: f"of {seen.fields.get('x-user')}"
    name, value = stage.cache.debug_header()
    assert at(stage, "/mine", host=host).text == "of ada"
    eve = stage.get("/mine", {"x-user": "eve", "host": host, name: value})
    assert (eve.text, "fwd=uri-miss" in str(eve.get("cache-status"))) == ("of eve", True)
    assert at(stage, "/mine", host=host).text == "of ada"
    ada = at(stage, "/mine", host=host, **{name: value})
    keys = {re.search('key="([0-9a-f]+)"', str(a.get("cache-status"))) for a in (ada, eve)}
    assert len({found[1] for found in keys if found is not None}) == 2


def test_the_value_is_hidden_from_pages_that_are_stored(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    seen: list[Seen] = []
    stage.handler = lambda request: (seen.append(request), "page")[1]
    name, value = stage.cache.debug_header()
    stage.get("/pages/1", {name: value})
    assert value not in str(seen[0].fields) and value not in str(seen[0].context)


CHANGES: dict[str, Callable[[str], str]] = {
    "later": lambda v: f"{int(v.partition('.')[0]) + 1}.{v.partition('.')[2]}",
    "a day later": lambda v: f"{int(v.partition('.')[0]) + 86_400}.{v.partition('.')[2]}",
    "cut": lambda v: v[:-1],
    "half": lambda v: v[: len(v) // 2],
    "no mac": lambda v: v.partition(".")[0] + ".",
    "empty mac": lambda v: v.partition(".")[0],
    "longer": lambda v: v + "0",
    "very long": lambda v: v + "0" * 1_000_000,
    "very long before": lambda v: "1" * 1_000_000 + v,
    "capitals": str.upper,
    "twice": lambda v: f"{v},{v}",
    "percent": lambda v: v.replace(".", "%2e"),
    "nul": lambda v: v + "\x00",
    "line": lambda v: v + "\n",
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_altered_value_tells(scenario: MakeScenario, change: str) -> None:
    stage = silent(scenario)
    name, value = stage.cache.debug_header()
    other = CHANGES[change](value)
    if other == value:  # a mac of digits alone
        pytest.fail("choose another key")
    assert not tells(stage.get("/pages/1", {name: other}))
    assert tells(stage.get("/pages/1", {name: value}))


@pytest.mark.parametrize(
    "theirs",
    [{"site_key": OTHER}, {"site": "staging"}, {"site_key": [OTHER, "k" * 16], "names_key": KEY}],
    ids=["key", "site", "names"],
)
def test_a_value_of_another_site_or_key_does_not_tell(
    scenario: MakeScenario, theirs: dict[str, Any]
) -> None:
    name, value = silent(scenario, **theirs).cache.debug_header()
    assert not tells(silent(scenario).get("/pages/1", {name: value}))


def test_a_value_made_by_a_clock_ahead_ends_no_later_than_one_made_now() -> None:
    ahead = Debugger(KEY, lambda: NOW + 10 * MAX_VALIDITY)
    ours = Debugger(KEY, lambda: NOW)
    assert not ours.allows(ahead.field(1), NOW)
    assert not ours.allows(ahead.field(MAX_VALIDITY), NOW)


def test_an_answer_that_tells_a_key_is_kept_by_no_cache_on_the_way(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    stage.handler = lambda seen: Reply(b"x" * 99, fields=[("Cache-Control", "public, max-age=60")])
    name, value = stage.cache.debug_header()
    stage.get("/pages/1")
    tag = str(stage.get("/pages/1").get("etag"))
    for more in ({}, {"if-none-match": tag}, {"range": "bytes=0-1"}, {"cache-control": "no-cache"}):
        answer = stage.get("/pages/1", {name: value, **more})
        assert 'key="' in str(answer.get("cache-status"))
        assert "no-store" in str(answer.get("cache-control"))
        assert "no-store" not in str(stage.get("/pages/1", more).get("cache-control"))


# The cookie of writers ------------------------------------------------------------------------


def soft_site(stage: Scenario) -> Callable[[Seen], Reply | str]:
    """Pages with a number that each write raises, softly."""

    def handler(seen: Seen) -> Reply | str:
        if seen.method == "POST":
            stage.cache.invalidate("page:1", soft=True)
            return "written"
        return f"page {stage.renders} of {seen.fields.get('x-user')}"

    return handler


def written(stage: Scenario, scheme: str = "http") -> str:
    """Name and value of the cookie that a write is answered with."""
    value = stage.post("/write").get("set-cookie")
    assert value is not None
    return value.partition(";")[0]


def test_whose_cookie_it_was_makes_no_difference_but_fresh_pages(scenario: MakeScenario) -> None:
    """A stolen or shared one is no credential: it opens nobody's page."""
    stage = silent(scenario)
    stage.handler = soft_site(stage)
    assert stage.get("/mine", {"x-user": "ada"}).text.endswith("of ada")
    jar = written(stage)
    eve = stage.get("/mine", {"x-user": "eve", "cookie": jar})
    assert eve.text.endswith("of eve")
    assert stage.get("/mine", {"x-user": "eve"}).text == eve.text
    assert stage.get("/mine", {"x-user": "ada"}).text.endswith("of ada")


def test_a_cookie_tossed_by_a_neighbour_takes_nothing_from_a_writer() -> None:
    """A sibling domain may set cookies of this name for ours, before and behind it."""
    wrote = Wrote(KEY, site="shop", window=SWR)
    good = wrote.cookie(NOW, secure=True)[0].partition(";")[0]
    name = good.partition("=")[0]
    plain = name.removeprefix("__Host-")
    bad = f"{int(NOW + 90)}.{'0' * 32}"
    tossed = "; ".join(f"{plain}={bad}" for _ in range(50))
    for jar in (f"{tossed}; {good}", f"{good}; {tossed}", f"{plain}={bad}; {name}={bad}; {good}"):
        assert wrote.wrote(sending(jar), NOW)
    for jar in (tossed, f"{name}={bad}", f"{name.lower()}x={good.partition('=')[2]}"):
        assert not wrote.wrote(sending(jar), NOW)


def test_a_jar_full_of_forged_cookies_costs_no_more_than_it_is_long() -> None:
    wrote = Wrote([KEY, OTHER, "k" * 16, "l" * 16], site="shop", window=SWR)
    name = wrote.cookie(NOW, secure=False)[0].partition("=")[0]
    asked = []

    class Counting(Wrote):
        def _mac(self, until: str, key: bytes) -> str:
            asked.append(until)
            return super()._mac(until, key)

    counting = Counting([KEY, OTHER, "k" * 16, "l" * 16], site="shop", window=SWR)
    one = f"{name}=1.{'0' * 32}; "
    jar = one * (16_000 // len(one))
    assert not counting.wrote(sending(jar), NOW)
    assert len(asked) <= len(jar) // len(one)  # one each, and not one for each key


def test_the_cookie_is_for_this_host_alone_and_for_no_script() -> None:
    for secure in (False, True):
        value, until = Wrote(KEY, site="shop", window=SWR).cookie(NOW, secure=secure)
        attributes = {part.strip().lower() for part in value.split(";")[1:]}
        assert {"path=/", "httponly", "samesite=lax"} <= attributes
        assert not any(part.startswith("domain") for part in attributes)
        assert ("secure" in attributes) is value.startswith("__Host-") is secure
        assert len(value) < 200
        assert until <= NOW + SWR + MARGIN + 1
    assert MAX_AHEAD <= 3600


def test_the_cookie_names_neither_site_nor_writer_nor_what_was_written(
    scenario: MakeScenario,
) -> None:
    stage = silent(scenario, site="the-shop")
    stage.handler = soft_site(stage)
    values = []
    for user in ("ada", "eve"):
        answer = stage.request("POST", "/write", {"x-user": user}, b"x")
        values.append(str(answer.get("set-cookie")))
    assert values[0] == values[1]  # of one moment: nobody can be followed by it
    assert not re.search("shop|ada|eve|page", values[0].replace("pagegen_wrote", ""))


# Comparing ------------------------------------------------------------------------------------

#: Names of what must not be compared letter by letter, where somebody may send one of the two.
SECRETS = re.compile(r"\b_?(mac|_mac|digest|hexdigest|signature|check|_keyed|secret|secrets)\b")


def compared() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "sample" in path.parts:  # an application to be checked
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and any(
                isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
            ):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", ast.unparse(node)


#: Compared, and no secret that anybody could send.
HARMLESS = {
    "len(set(secrets)) == len(secrets)",  # of one configuration
    "check == _plain(rest)",  # a checksum without a key
    "found == generation.signature",  # what files are: device, inode, times
    "found[_OF_FILES:] != self.signature[_OF_FILES:]",
}


def test_no_secret_is_compared_letter_by_letter() -> None:
    found = {where: said for where, said in compared() if SECRETS.search(said)}
    assert {where: said for where, said in found.items() if said not in HARMLESS} == {}
    assert found  # it finds what there is


@pytest.mark.parametrize("module", ["debugging", "wrote", "stores.codec"])
def test_what_checks_a_mac_compares_in_constant_time(module: str) -> None:
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    assert any(ast.unparse(call.func) == "compare_digest" for call in calls)
    assert "from hmac import compare_digest" in path.read_text(encoding="utf-8")
    assert hmac.compare_digest("a", "a")
