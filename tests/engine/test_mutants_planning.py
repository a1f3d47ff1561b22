"""From requests to plans: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from pagegen import planning
from pagegen.identities import Identity, parse_source
from pagegen.messages import GivenFields, Request
from pagegen.planning import MAX_PATH, MEMO_LENGTH, Planner, path_is_sure
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.verdicts import Bypass, Plan, Reason
from pagegen.views import view


def asking(path: str = "/page", raw: str | None = None, **more: Any) -> Request:
    """A request; header fields by keyword ``fields``, what a middleware left by ``context``."""
    fields = GivenFields({"host": "a.example", **more.pop("fields", {})})
    return Request("GET", "http", "", path, raw, "", fields, more.pop("context", {}))


def planner(rule: Rule, *identities: Identity) -> Planner:
    book = RuleBook((rule,), (), {identity.name: identity for identity in identities})
    return Planner(book, site="s", release="", passthrough=())


def person(*sources: str, **more: Any) -> Identity:
    return Identity(name="user", sources=tuple(map(parse_source, sources)), **more)


def planned(ours: Planner, request: Request) -> Plan:
    plan = ours.plan(request)
    assert isinstance(plan, Plan), plan
    return plan


PAGE = Rule(path="/page", share="public")
ITEMS = Rule(path="/{name}", share="public")
MINE = Rule(path="/page", share=["user"])
LANGUAGE = Rule(path="/page", share="public", headers={"x-lang": {"max_length": 2000}})
THEME = Rule(path="/page", share="public", cookies={"theme": {"max_length": 2000}})


# Paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/é/b", "/é/", "/éX", "/Xé/b/"])
def test_letters_beyond_ascii_make_no_path_doubtful(path: str) -> None:
    assert path_is_sure(path, None)


@pytest.mark.parametrize("path", ["é", "é/b", "x/é/"])
def test_a_path_begins_with_a_slash(path: str) -> None:
    assert not path_is_sure(path, None)


def test_a_raw_path_may_be_three_times_as_long_as_the_longest_path() -> None:
    letters = "é" * (MAX_PATH // 2 - 1)
    escaped = "%C3%A9" * (MAX_PATH // 2 - 1)
    assert len(f"/{escaped}12345") == 3 * MAX_PATH
    assert path_is_sure(f"/{letters}12345", f"/{escaped}12345")
    assert not path_is_sure(f"/{letters}123456", f"/{escaped}123456")


@pytest.mark.parametrize(("path", "usual"), [("/a|b", ["/a%7Cb"]), ("/é(b)", ["/%C3%A9(b)"])])
def test_the_usual_spellings_of_a_path_share_the_page_of_a_server_that_tells_none(
    path: str, usual: list[str]
) -> None:
    ours = planner(ITEMS)
    slots = {planned(ours, asking(path, raw)).slot for raw in (None, *usual)}
    assert len(slots) == 1
    assert planned(ours, asking("/é(b)", "/%C3%A9%28b%29")).slot not in slots


# Reasons --------------------------------------------------------------------------------------


def test_who_names_no_host_has_the_page_of_none() -> None:
    ours = planner(PAGE)
    planned(ours, asking(fields={"host": "XXXX"}))
    nameless = asking()
    nameless.fields = GivenFields()
    assert ours.plan(nameless) == Bypass(Reason.HOST)


def test_an_upgrade_is_a_bypass() -> None:
    ours = planner(PAGE)
    assert ours.plan(asking(fields={"upgrade": "WebSocket"})) == Bypass(Reason.UPGRADE)
    planned(ours, asking(fields={"upgrade": "h2c"}))


def test_a_doubt_keeps_its_reason_where_there_are_credentials_too() -> None:
    doubtful = asking(fields={"authorization": "Basic a", "cookie": "theme=1; theme=2"})
    assert planner(THEME).plan(doubtful) == Bypass(Reason.COOKIE)


def test_a_cookie_by_the_name_of_the_credentials_does_not_allow_them() -> None:
    ours = planner(MINE, person("cookie:authorization"))
    cookie = {"cookie": "authorization=7"}
    planned(ours, asking(fields=cookie))
    both = asking(fields={**cookie, "authorization": "Basic a"})
    assert ours.plan(both) == Bypass(Reason.AUTHORIZATION)


def test_who_is_known_by_a_cookie_keys_the_cookie_field() -> None:
    plan = planned(planner(MINE, person("cookie:session")), asking(fields={"cookie": "session=7"}))
    assert plan.keyed == {"host", "cookie"}
    plan = planned(planner(MINE, person("header:x-user")), asking(fields={"x-user": "7"}))
    assert plan.keyed == {"host", "x-user"}


def test_what_breaks_the_planner_is_said_in_these_words(caplog: pytest.LogCaptureFixture) -> None:
    ours = planner(PAGE)
    broken = asking()
    broken.path = None  # type: ignore[assignment]
    for _ in range(2):
        assert ours.plan(broken) == Bypass(Reason.MALFORMED)
    (record,) = caplog.records
    said = "a request could not be planned and bypasses (TypeError at "
    assert record.getMessage().startswith(said)
    assert re.search(r"planning\.py:[0-9]+\); this is said once$", record.getMessage())


# Memory ---------------------------------------------------------------------------------------


def test_objects_that_differ_among_visitors_without_a_name_are_remembered_for_none() -> None:
    """``anonymous = "reveal"`` shows what the source found: to those only who have it."""
    ours = planner(MINE, person("scope:user.id", "scope:session.user", anonymous="reveal"))
    seen = [
        view(planned(ours, request), request).context
        for request in (asking(context={key: {"x": 1}}) for key in ("nothing", "user", "session"))
    ]
    assert seen == [(), (("user", "id"),), (("session", "user"),)]


@pytest.mark.parametrize(
    ("rule", "fields"),
    [(LANGUAGE, {"x-lang": "de"}), (THEME, {"cookie": "theme=dark"})],
    ids=["header", "cookie"],
)
def test_equal_inputs_have_one_plan_made_once(rule: Rule, fields: dict[str, str]) -> None:
    ours = planner(rule)
    assert planned(ours, asking(fields=fields)) is planned(ours, asking(fields=fields))


@pytest.mark.parametrize("one", [["x-lang"], ["theme"], ["x-lang", "theme"]])
def test_of_long_inputs_no_plan_is_remembered(one: list[str]) -> None:
    """A plan is remembered as long as its key's head and values come to ``MEMO_LENGTH``."""
    long = {"max_length": 2000}
    ours = planner(
        Rule(path="/page", share="public", headers={"x-lang": long}, cookies={"theme": long})
    )
    target = ours._target(asking())
    assert not isinstance(target, Bypass)
    room = MEMO_LENGTH - len(target.head)

    def of_length(length: int) -> Request:
        lengths = dict.fromkeys(one, length // len(one))
        lengths[one[0]] += length % len(one)
        named = {name: "x" * count for name, count in lengths.items()}
        fields = {"x-lang": named["x-lang"]} if "x-lang" in named else {}
        fields |= {"cookie": f"theme={named['theme']}"} if "theme" in named else {}
        return asking(fields=fields)

    planned(ours, of_length(room + 1))
    assert not ours._composed
    planned(ours, of_length(room))
    assert len(ours._composed) == 1


def test_a_visitors_name_counts_like_any_other_input() -> None:
    ours = planner(MINE, person("header:x-user"))
    planned(ours, asking(fields={"x-user": "7" * MEMO_LENGTH}))
    assert not ours._composed


def test_a_target_is_remembered_up_to_its_length() -> None:
    ours = planner(ITEMS)
    room = MEMO_LENGTH - len("GET" + "a.example" + "http" + "/")
    planned(ours, asking("/" + "x" * room))
    assert len(ours._memo) == 1
    planned(ours, asking("/" + "x" * (room + 1)))
    assert len(ours._memo) == 1


@pytest.mark.parametrize("rule", [ITEMS, Rule(path="/{name}", share="public", headers={"x": {}})])
def test_a_memory_that_is_full_keeps_to_its_bytes(
    monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    monkeypatch.setattr(planning, "TARGET_BYTES", 4600)
    monkeypatch.setattr(planning, "PLAN_BYTES", 4600)
    ours, sizes = planner(rule), []
    for number in range(6):
        planned(ours, asking(f"/{number}"))
        said = ours.statistics()
        assert max(said["targets_bytes"], said["plans_bytes"]) <= 4600
        sizes.append((len(ours._memo), len(ours._composed)))
    plans = [1, 2, 2, 2, 2, 2] if rule.keyed_headers else [0] * 6
    assert sizes == list(zip([1, 2, 3, 3, 3, 3], plans, strict=True))
