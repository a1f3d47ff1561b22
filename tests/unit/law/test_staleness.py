"""How long past its lifetime a page may stand in (RFC 9111 §4.2.4, §5.2.2; RFC 5861)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law.staleness import MAX_UNREACHABLE, NEVER_STALE, NONE, newly_forbidden, windows
from pagegen.messages import ResponseHead, StoredResponse
from pagegen.rules import Rule


class Row(NamedTuple):
    """A Cache-Control value under a rule, and its windows in seconds."""

    id: str
    rfc: str
    says: str
    value: str
    expect: tuple[float, float, float]
    rule: dict[str, Any] = {}


HOUR = MAX_UNREACHABLE
BOTH: dict[str, Any] = {"swr": 30, "sie": 60}
WIDE: dict[str, Any] = {"swr": "1d", "sie": "1d", "ttl": "1d"}
ROWS = (
    Row("9111-4.2.4-2", "§4.2.4 s3", "unsaid: only when cut off", "max-age=5", (0, 0, HOUR)),
    Row("9111-4.2.4-1-must", "§4.2.4 s2", "forbidden", "must-revalidate", NONE, WIDE),
    Row("9111-4.2.4-1-proxy", "§4.2.4 s2", "forbidden", "proxy-revalidate", NONE, WIDE),
    Row("9111-4.2.4-1-s", "§4.2.4 s2", "forbidden", "s-maxage=5", NONE, WIDE),
    Row("9111-4.2.4-1-no-cache", "§4.2.4 s2", "forbidden", "no-cache", NONE, WIDE),
    Row("9111-5.2.2.2-1", "§5.2.2.2 s1", "before what allows it",
        "max-age=1, must-revalidate, stale-while-revalidate=9, stale-if-error=9", NONE),
    Row("9111-5.2.2.2-2", "§5.2.2.2 s3", "also when cut off", "must-revalidate", NONE),
    Row("9111-5.2.2.2-arg", "§5.2.2.2", "with any argument", "must-revalidate=0", NONE, WIDE),
    Row("9111-5.2.2.8-1", "§5.2.2.8 s1", "the same for shared caches", "proxy-revalidate", NONE),
    Row("9111-5.2.2.10-2", "§5.2.2.10 s2", "which s-maxage says too",
        "s-maxage=1, stale-while-revalidate=9", NONE),
    Row("9111-5.2.2.10-bad", "§5.2.2.10", "be its number none", "s-maxage=x", NONE, WIDE),
    Row("9111-5.2.2.4-2", "§5.2.2.4 s2", "even if caches are told to",
        "no-cache, stale-if-error=9", NONE, WIDE),
    Row("9111-5.2.2.4-3", "§5.2.2.4 s3", "qualified, it forbids nothing of it",
        'max-age=5, no-cache="x"', (30, 60, 60), BOTH),
    Row("5861-3-1", "RFC 5861 §3 s1", "up to this many seconds", "stale-while-revalidate=9",
        (9, 0, HOUR)),
    Row("5861-3-bad", "RFC 5861 §3", "what is no number is absent", "stale-while-revalidate=x",
        (0, 0, HOUR)),
    Row("5861-3-bare", "RFC 5861 §3", "so is nothing", "stale-while-revalidate", (0, 0, HOUR)),
    Row("5861-4-1", "RFC 5861 §4 s1", "up to this many seconds", "stale-if-error=9", (0, 9, 9)),
    Row("5861-4-0", "RFC 5861 §4", "0 says that it may not", "stale-if-error=0", (0, 0, 0)),
    Row("5861-4-bad", "RFC 5861 §4", "what is no number is absent", "stale-if-error=-1",
        (0, 0, HOUR)),
    Row("5861-both", "RFC 5861", "each its own",
        "max-age=600, stale-while-revalidate=30, stale-if-error=1200", (30, 1200, 1200)),
    Row("5861-huge", "§1.2.2", "what overflows is 2^31", "stale-if-error=99999999999",
        (0, 2**31, 2**31)),
    Row("rule", "design §5", "a rule's windows", "max-age=5", (30, 60, 60), BOTH),
    Row("rule-first", "design §5", "come before the response's",
        "stale-while-revalidate=1, stale-if-error=2", (30, 60, 60), BOTH),
    Row("rule-zero", "design §5", "also to close them",
        "stale-while-revalidate=1, stale-if-error=2", (0, 0, 0), {"swr": 0, "sie": 0}),
    Row("rule-half", "design §5", "each alone", "stale-while-revalidate=1, stale-if-error=2",
        (1, 60, 60), {"sie": 60}),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_page_may_be_stale_as_long_as_rule_or_response_say(row: Row) -> None:
    rule = Rule(path="/", share="public", **row.rule)
    head = ResponseHead(200, (("Cache-Control", row.value),))
    assert windows(head, rule) == row.expect, row.says


@pytest.mark.parametrize(
    ("allowed", "value", "expect"),
    [
        ((9.0, 0.0, 0.0), "must-revalidate", True),
        ((0.0, 9.0, 0.0), "must-revalidate", True),
        ((0.0, 0.0, 0.5), "must-revalidate", True),
        ((0.0, 0.0, 0.0), "must-revalidate", False),
        ((9.0, 9.0, 9.0), "max-age=5", False),
        ((9.0, 9.0, 9.0), "stale-if-error=0", False),
    ],
)
def test_an_update_forbids_what_the_page_still_allows(
    allowed: tuple[float, float, float], value: str, expect: bool
) -> None:
    # §4.3.4 s1: by the new response's word, the old one's windows are closed.
    times = (0.0,) * 4
    page = StoredResponse(b"", (), (), 200, "", b"", None, None, *times, (), (), (), ())
    page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable = allowed
    head = ResponseHead(304, (("Cache-Control", value),))
    assert newly_forbidden(page, head, Rule(path="/", share="public", swr=30)) is expect


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_text_beside_it_opens_what_forbids_stale_pages(text: str) -> None:
    rule = Rule(path="/", share="public", **WIDE)
    for name in NEVER_STALE:
        head = ResponseHead(200, (("Cache-Control", f"{text}, {name}"),))
        assert windows(head, rule) == NONE
