"""What a request may cost in work: hostile fields are read in time that grows with their length.

Time is counted in calls and lines of Python and C functions, so that no clock decides; the few
regular expressions are fed to their worst and must end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest

from pagegen import ConfigError, Invalidates, PageCache, Rule, config
from pagegen.asgi.requests import ScopeFields, combined
from pagegen.fields import (
    byte_ranges,
    cookies,
    directives,
    entity_tags,
    strings,
    targeted,
    tokens,
)
from pagegen.groups import MAX_GROUPS, found
from pagegen.law.ranges import spans
from pagegen.law.vary import normalised, selecting
from pagegen.messages import ResponseHead
from pagegen.negotiation import preferred
from pagegen.patterns import MAX_SEGMENTS, parse_pattern
from pagegen.queries import canonical
from pagegen.rulebook import RuleBook
from tests.conftest import MakeScenario
from tests.security.memory import Site

#: Work at four times the length may be so many times the work: linear is 4, square is 16.
LINEAR: Final = 6.0
LIST: Final = Rule(
    path="/p", share="public", other_query="drop", query={"a": {"repeat": "list", "max_repeats": 9}}
)
FIELDS: Final[dict[str, Callable[[int], object]]] = {
    "If-None-Match": lambda n: entity_tags(", ".join(f'"{i}"' for i in range(n))),
    "If-None-Match without ends": lambda n: entity_tags('"' * n),
    "Cache-Control": lambda n: directives(", ".join(f"x{i}=1" for i in range(n))),
    "Cache-Control of quotes": lambda n: directives('a="\\' * n),
    "CDN-Cache-Control": lambda n: targeted(", ".join(f"x{i}=1" for i in range(n))),
    "Cache-Groups": lambda n: strings(", ".join(f'"g{i}"' for i in range(n))),
    "Cache-Groups nested": lambda n: strings("(" * n + '"a"' + ")" * n),
    "Connection": lambda n: tokens(",".join(f"x{i}" for i in range(n))),
    "Cookie": lambda n: cookies("; ".join(f"c{i}=v" for i in range(n))),
    "Range": lambda n: byte_ranges("bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(n))),
    "Range overlapping": lambda n: spans("bytes=" + "0-," * n, 10**6),
    "Accept-Language": lambda n: preferred.__wrapped__(
        "accept-language", ",".join(f"x{i};q=0.5" for i in range(n)), ("en", "de")
    ),
    "Accept normalised": lambda n: normalised("accept", ",".join(f"a/b{i}" for i in range(n))),
    "Vary": lambda n: selecting(ResponseHead(200, (("Vary", ",".join(["a"] * n)),))),
    "a query": lambda n: canonical("&".join(["a=1"] * n), LIST),
    "a query of escapes": lambda n: canonical("a=" + "%41" * n, LIST),
}


def work(act: Callable[[], object]) -> int:
    """Calls and lines that it takes."""
    count = 0

    def trace(_frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal count
        count += 1

    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", FIELDS)
def test_reading_a_field_takes_work_that_grows_with_its_length(name: str) -> None:
    read = FIELDS[name]
    read(10)  # what is done once is done
    short, long = work(lambda: read(200)), work(lambda: read(800))
    assert long <= LINEAR * short + 200


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_a_megabyte_ends(name: str) -> None:
    # A square of this length would take minutes.
    FIELDS[name](200_000 if "nested" not in name else 20_000)


def test_lines_of_one_name_are_joined_once() -> None:
    class Counted(bytes):
        """A value that counts the bytes which are copied when it is appended to others."""

        def __radd__(self, before: bytes) -> bytes:
            copied.append(len(before))
            return before + bytes(self)

    copied: list[int] = []
    fields = ScopeFields(combined([(b"x", Counted(b"a"))] * 1000))
    assert fields.get("x") == ", ".join("a" * 1000)
    assert sum(copied) == 0


def test_a_page_with_ten_thousand_groups_is_refused_and_counted() -> None:
    names = ", ".join(f'"g{number}"' for number in range(10_000))
    assert found(ResponseHead(200, (("Cache-Groups", names),)), (), ()) is None
    names = ", ".join(f'"g{number}"' for number in range(MAX_GROUPS))
    assert found(ResponseHead(200, (("Cache-Groups", names),)), (), ()) is not None


HOSTILE: Final[dict[str, dict[str, str]]] = {
    "If-None-Match": {"HTTP_IF_NONE_MATCH": ", ".join(f'"{i}"' for i in range(10_000))},
    "Cookie": {"HTTP_COOKIE": "; ".join(f"c{i}=v" for i in range(2_000))},
    "Accept-Language": {"HTTP_ACCEPT_LANGUAGE": ",".join(f"x{i}" for i in range(5_000))},
    "Cache-Control": {"HTTP_CACHE_CONTROL": "x=" + "y" * 100_000},
    "Range": {"HTTP_RANGE": "bytes=" + ",".join(f"{i}-{i}" for i in range(1_000))},
    "ten thousand fields": {f"HTTP_X_{i}": "v" for i in range(10_000)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_request_with_hostile_fields_gets_the_whole_page_for_work_within_its_length(
    name: str,
) -> None:
    site, fields = Site(1000), HOSTILE[name]
    plain = site.get("/hot/1")
    usual = work(lambda: site.get("/hot/1"))
    hostile = site.get("/hot/1", **fields)
    assert len(hostile) == len(plain)
    # What is not read to its end may ask for the application, and so does this one.
    assert (hostile == plain) is (name != "Cache-Control")
    length = sum(len(key) + len(value) for key, value in fields.items())
    assert work(lambda: site.get("/hot/1", **fields)) < 10 * usual + 4 * length


def test_ten_thousand_rules_are_read_once_and_found_at_once() -> None:
    def rules(number: int) -> tuple[Rule, ...]:
        return tuple(
            Rule(path=f"/shop/{{id}}/r{n}", share="public", name=f"r{n}") for n in range(number)
        )

    few, many = rules(250), rules(1000)
    assert work(lambda: RuleBook(many)) <= LINEAR * work(lambda: RuleBook(few))
    small, large = RuleBook(few), RuleBook(many)
    path = "/shop/7/r200"
    assert work(lambda: large.match("GET", path)) <= work(lambda: small.match("GET", path)) + 200


def test_addresses_that_thousands_of_typed_rules_are_like_are_found_at_once() -> None:
    def book(number: int) -> RuleBook:
        paths = (f"/{{x}}-{n}" for n in range(number))
        return RuleBook(tuple(Rule(path=path, share="public") for path in paths))

    small, large = book(100), book(1000)
    found = small.match("GET", "/lamp-7"), large.match("GET", "/lamp-7")
    assert [match[0].path for match in found if match] == ["/{x}-7"] * 2
    few, many = (work(lambda b=b: b.match("GET", "/lamp-7")) for b in (small, large))  # type: ignore[misc]
    assert many <= few + 200


def _reachable(rules: list[Rule]) -> bool:
    """Whether no rule takes all requests of a later one, by comparing each to all."""
    return not any(
        before.pattern.covers(rule.pattern) and set(rule.methods) <= set(before.methods)
        for number, rule in enumerate(rules)
        for before in rules[:number]
    )


def test_a_rule_that_can_never_match_is_found_as_by_comparing_each_to_all() -> None:
    parts = ("a", "b", "{x}", "{x:int}", "{x:slug}", "p{x}", "*")
    paths = ["/", "/**", "/{r:path}", *(f"/{one}" for one in parts)]
    paths += [f"/{one}/{end}" for one in parts for end in ("a", "{y}", "{y:int}", "**", "{r:path}")]
    for first in paths:
        for second in paths:
            rules = [
                Rule(path=first, cache=False, name="1", methods=["GET"]),
                Rule(path=second, cache=False, name="2", methods=["GET"]),
            ]
            try:
                RuleBook(tuple(rules))
                accepted = True
            except ConfigError as error:
                accepted = "can never match" not in str(error)
            assert accepted == _reachable(rules), (first, second)


def test_segments_of_a_pattern_are_matched_in_one_pass() -> None:
    deep = "/".join(f"{{s{n}}}-x" for n in range(60))
    cache = PageCache([Rule(path=f"/{deep}", share="public")])
    match = cache.configuration.book.match
    path = "/" + "/".join(["y" * 20 + "-x"] * 59 + ["y"])
    longer = "/" + "/".join(["y" * 80 + "-x"] * 59 + ["y"])
    assert work(lambda: match("GET", longer)) <= work(lambda: match("GET", path)) + 200
    assert parse_pattern(f"/{deep}").covers(parse_pattern(f"/{deep}"))


def test_a_pattern_of_too_many_segments_stops_the_start_with_a_word(scenario: MakeScenario) -> None:
    def rule(segments: int) -> Rule:
        return Rule(path="/a" * segments, share="public", ttl="1h")

    site = scenario(rule(MAX_SEGMENTS))
    assert [site.get("/a" * MAX_SEGMENTS).trace for _ in range(2)] == ["uri-miss, stored", "hit"]
    with pytest.raises(ConfigError, match=f"has {MAX_SEGMENTS + 1} segments"):
        rule(MAX_SEGMENTS + 1)
    with pytest.raises(ConfigError, match="has 2000 segments"):
        Invalidates(path="/a" * 2_000, namespaces=["a"])


def test_a_file_nested_too_deep_stops_the_start_with_a_word(tmp_path: Any) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text("[pagegen]\npassthrough = " + "[" * 5_000 + "]" * 5_000, encoding="utf-8")
    with pytest.raises(ConfigError, match="nested"):
        config.load(file)
