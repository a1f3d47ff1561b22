"""The memory of the planner: it saves work, is bounded, and never changes an answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen import planning
from pagegen.identities import Identity, parse_source
from pagegen.messages import Request
from pagegen.planning import TARGET_BYTES, Planner
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.verdicts import Bypass, Plan, Reason
from pagegen.views import view

RULES = (
    Rule(path="/public", share="public", query={"q": {"default": ""}}, namespaces=["p:{q}"]),
    Rule(path="/get", share="public", methods=["GET"]),
    Rule(path="/lang", share="public", headers={"accept-language": {"values": ["en", "de"]}}),
    Rule(path="/theme", share="public", cookies={"theme": {"values": ["dark"]}, "size": {}}),
    Rule(path="/mine", share=["user"], namespaces=["u:{user}"]),
    Rule(path="/off", cache=False),
    Rule(path="/items/{x}", share="public"),
)
USER = Identity(name="user", sources=(parse_source("header:x-user"), parse_source("cookie:uid")))


def planner() -> Planner:
    """A planner with an empty memory."""
    return Planner(RuleBook(RULES, (), {"user": USER}), site="s", release="", passthrough=())


def request(path: str = "/public", host: str | None = "a", **more: Any) -> Request:
    """A request; further header fields by keyword ``fields``."""
    fields = {**({} if host is None else {"host": host}), **more.pop("fields", {})}
    values: dict[str, Any] = {
        "method": "GET", "scheme": "http", "root": "", "raw_path": None, "query": "",
    }  # fmt: skip
    return Request(**{**values, "path": path, "fields": fields, "context": {}, **more})


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.sampled_from(["", "Basic a"]),
        "content-length": st.sampled_from(["", "0", "1"]),
        "transfer-encoding": st.just("chunked"),
        "accept-language": st.sampled_from(["de", "en", "fr"]),
        "x-user": st.sampled_from(["", "7"]),
        "cookie": st.sampled_from(["theme=dark", "size=1; size=2", "uid=7", "a=b"]),
    },
)
PATHS = [
    "/public",
    "/get",
    "/lang",
    "/free",
    "/theme",
    "/mine",
    "/auth",
    "/off",
    "/other",
    "//",
    "",
]
REQUESTS = st.builds(
    request,
    st.sampled_from(PATHS),
    st.sampled_from([None, "", "a", "A", "b", "a b"]),
    method=st.sampled_from(["GET", "GET", "HEAD", "POST"]),
    scheme=st.sampled_from(["http", "https"]),
    root=st.sampled_from(["", "/m"]),
    query=st.sampled_from(["", "q=1", "q=", "x=1"]),
    raw_path=st.sampled_from([None, "/public", "/%70ublic", "/lang"]),
    fields=FIELDS,
)


def comparable(verdict: Plan | Bypass, asked: Request) -> tuple[Any, ...]:
    """All that a verdict says (plans have no equality of their own)."""
    if isinstance(verdict, Bypass):
        return (verdict.reason,)
    seen = view(verdict, asked)
    return (
        verdict.rule.name, verdict.key, verdict.slot, verdict.namespaces, verdict.keyed,
        seen.host, seen.query, seen.fields, seen.context, seen.identities,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(REQUESTS, min_size=1, max_size=40))
def test_the_memory_never_changes_an_answer(requests: list[Request]) -> None:
    remembering = planner()
    for asked in requests:
        answers = [remembering.plan(asked), remembering.plan(asked), planner().plan(asked)]
        assert len({comparable(answer, asked) for answer in answers}) == 1


def test_an_empty_raw_path_is_not_remembered_as_an_absent_one() -> None:
    fresh = planner()
    assert fresh.plan(request(raw_path="")) == Bypass(Reason.PATH)
    assert isinstance(fresh.plan(request(raw_path=None)), Plan)
    assert fresh.plan(request(raw_path="")) == Bypass(Reason.PATH)


def test_a_remembered_target_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, calls = planner(), []
    sure = planning.path_is_sure

    def counted(path: str, raw_path: str | None) -> bool:
        calls.append(path)
        return sure(path, raw_path)

    monkeypatch.setattr(planning, "path_is_sure", counted)
    for _ in range(5):
        fresh.plan(request())
    assert calls == ["/public"]


def test_the_memory_is_bounded() -> None:
    fresh = planner()
    for number in range(4_000):
        fresh.plan(request(f"/items/{number}"))
        assert fresh.statistics()["targets_bytes"] <= TARGET_BYTES
    before = fresh.statistics()
    assert before["targets_evicted"] > 0
    fresh.plan(request("/items/" + "x" * 600))
    assert fresh.statistics() == before


def test_a_flood_of_addresses_leaves_those_that_visitors_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh, hot = planner(), [f"/items/hot-{number}" for number in range(100)]
    for path in hot * 4:
        fresh.plan(request(path))
    worked_out = []
    sure = planning.path_is_sure

    def noted(path: str, raw_path: str | None) -> bool:
        worked_out.append(path)
        return sure(path, raw_path)

    monkeypatch.setattr(planning, "path_is_sure", noted)
    for number in range(10_000):
        fresh.plan(request(f"/items/{number}"))
        fresh.plan(request(hot[number % 100]))
    assert len(worked_out) == 10_000
    assert not set(hot).intersection(worked_out)
