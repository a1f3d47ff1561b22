"""Which paths are read the same way by everybody, and that two readings never share a page."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pagegen.messages import Request
from pagegen.planning import MAX_PATH, Planner, path_is_sure
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.verdicts import Plan

BOOK = RuleBook((Rule(path="/**", share="public", ttl=60),))


def plan(path: str, raw: str | None) -> Plan | None:
    """The plan of a GET of this path by a planner without memory, None for a bypass."""
    planner = Planner(BOOK, site="s", release="", passthrough=())
    verdict = planner.plan(Request("GET", "http", "", path, raw, "", {"host": "a"}, {}))
    return verdict if isinstance(verdict, Plan) else None


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/", None),
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/a.b/.c/..d/e..", "/a.b/.c/..d/e.."),
        ("/a", "/%61"),
        ("/é", "/%C3%A9"),
        ("/é", "/%c3%a9"),
        ("/é", None),
        ("/a b", "/a%20b"),
        ("/~a", "/%7Ea"),
        ("/a:b@c,d=e", "/a:b@c,d=e"),
        ("/[a]{b}|^`", "/[a]{b}|^`"),
        ("/日本", quote("/日本")),
        ("/😀", quote("/😀")),
        ('/"<>', "/%22%3C%3E"),
        ("/" + "a" * (MAX_PATH - 1), None),
    ],
)
def test_an_honest_path_is_sure(path: str, raw: str | None) -> None:
    assert path_is_sure(path, raw)


HOSTILE = [
    ("no-slash", "a", None),
    ("asterisk-form", "*", "*"),
    ("absolute-form", "http://a/b", "http://a/b"),
    ("absolute-raw", "/b", "http://a/b"),
    ("double-slash", "/a//b", "/a//b"),
    ("leading-double-slash", "//a", "//a"),
    ("only-slashes", "//", "//"),
    ("trailing-double-slash", "/a//", None),
    ("dot", "/a/./b", "/a/./b"),
    ("dot-dot", "/a/../b", "/a/../b"),
    ("last-dot", "/a/.", None),
    ("last-dot-dot", "/a/..", None),
    ("dot-dot-slash", "/../", None),
    ("dots-among-unicode", "/é/../b", None),
    ("slashes-among-unicode", "/é//b", None),
    ("escaped-slash", "/a/b", "/a%2Fb"),
    ("escaped-slash-small", "/a/b", "/a%2fb"),
    ("escaped-dot", "/a.b", "/a%2Eb"),
    ("escaped-dots", "/..", "/%2e%2e"),
    ("half-escaped-dots", "/..", "/.%2e"),
    ("escaped-backslash", "/a\\b", "/a%5Cb"),
    ("backslash", "/a\\b", None),
    ("nul", "/a\x00b", "/a%00b"),
    ("nul-alone", "/a\x00b", None),
    ("semicolon", "/a;b", "/a;b"),
    ("semicolon-escaped", "/a;b", "/a%3Bb"),
    ("semicolon-cut", "/a", "/a;b"),
    ("percent", "/a%b", "/a%25b"),
    ("twice-escaped", "/a%2Fb", "/a%252Fb"),
    ("question", "/a?b", "/a%3Fb"),
    ("fragment", "/a#b", "/a%23b"),
    ("raw-query", "/a", "/a?b"),
    ("raw-fragment", "/a", "/a#b"),
    ("half-escape", "/a%", "/a%"),
    ("half-escape-raw", "/a", "/a%6"),
    ("bad-escape", "/a", "/%6za"),
    ("newline", "/a\n", "/a%0A"),
    ("newline-alone", "/a\n", None),
    ("crlf", "/a\r\nb", None),
    ("tab", "/a\tb", "/a%09b"),
    ("delete", "/a\x7f", "/a%7F"),
    ("c1-control", "/a\x85", "/a%C2%85"),
    ("nbsp", "/a\xa0b", "/a%C2%A0b"),
    ("zero-width", "/a\u200bb", None),
    ("right-to-left", "/a\u202eb", None),
    ("line-separator", "/a\u2028b", None),
    ("byte-order-mark", "/\ufeffa", None),
    ("replacement", "/a\ufffd", None),
    ("replacement-raw", "/a\ufffd", "/a%EF%BF%BD"),
    ("replacement-of-latin-1", "/a\ufffd", "/a%E9"),
    ("surrogate", "/a\ud800", None),
    ("surrogate-utf-8", "/a\ud800", "/a%ED%A0%80"),
    ("overlong-slash", "/a/b", "/a%C0%AFb"),
    ("overlong-dot", "/.", "/%C0%AE"),
    ("latin-1", "/é", "/%E9"),
    ("truncated-utf-8", "/é", "/%C3"),
    ("raw-unicode", "/é", "/é"),
    ("raw-latin-1", "/Ã©", "/\xc3\xa9"),
    ("mismatch", "/a", "/b"),
    ("case-mismatch", "/a", "/A"),
    ("rewritten-below", "/b", "/a/b"),
    ("slash-dropped", "/a", "/a/"),
    ("empty-raw", "/a", ""),
    ("too-long", "/" + "a" * MAX_PATH, None),
    ("too-long-unicode", "/" + "é" * MAX_PATH, None),
]


@pytest.mark.parametrize(("path", "raw"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_a_hostile_path_is_never_sure(path: str, raw: str | None) -> None:
    assert not path_is_sure(path, raw)
    assert plan(path, raw) is None


PART = st.text("aé.%/;\\ ~[:\x00", max_size=5)
ESCAPE = st.sampled_from(
    ["%61", "%2F", "%2f", "%2E", "%C3%A9", "%c3%a9", "%c3%A9", "%20", "%7E", "%5B", "%00", "%E9"]
)
RAW = st.lists(st.one_of(PART, ESCAPE), max_size=6).map(lambda parts: "/" + "".join(parts))


def decoded(raw: str) -> str:
    """What a server makes of a raw path."""
    return unquote_to_bytes(raw.encode("utf-8")).decode("utf-8", "replace")


PATHS = st.one_of(
    RAW.map(lambda raw: (decoded(raw), raw)),
    RAW.map(lambda raw: (decoded(raw), None)),
    st.tuples(RAW, st.one_of(st.none(), RAW)),
    st.tuples(st.text(), st.one_of(st.none(), st.text())),
)


@settings(deadline=None, max_examples=400)
@given(PATHS)
def test_a_sure_path_has_none_of_what_software_reads_in_two_ways(
    target: tuple[str, str | None],
) -> None:
    path, raw = target
    if not path_is_sure(path, raw) or path == "":
        return
    assert path.startswith("/")
    assert not {"", ".", ".."} & set(path[1:].split("/")[:-1])
    assert path.rsplit("/", 1)[1] not in (".", "..")
    assert path.isprintable()
    assert not set(path) & set(";\\%?#\ufffd")
    assert raw is None or decoded(raw) == path
    assert raw is None or not {"%2F", "%2E", "%5C", "%00"} & {
        raw[i : i + 3].upper() for i in range(len(raw))
    }


def is_usual(path: str, raw: str | None) -> bool:
    """Whether a raw path says nothing that the path does not."""
    return raw is None or raw == quote(path, safe="/!$&'()*+,:=@~")


@settings(deadline=None, max_examples=400)
@given(PATHS, PATHS)
def test_two_targets_share_a_slot_only_when_handlers_cannot_tell_them_apart(
    one: tuple[str, str | None], two: tuple[str, str | None]
) -> None:
    assume(one != two)
    plans = plan(*one), plan(*two)
    if plans[0] is None or plans[1] is None:
        return
    same = one[0] == two[0] and is_usual(*one) and is_usual(*two)
    assert (plans[0].slot == plans[1].slot) is same
    assert (plans[0].key == plans[1].key) is same


SPELLINGS = ["/é~a", "/%C3%A9~a", "/%c3%a9~a", "/%C3%a9~a", "/%C3%A9%7Ea", "/%C3%A9~%61"]


def test_the_spellings_of_one_path_have_slots_of_their_own_but_for_the_usual_one() -> None:
    usual = plan("/é~a", None)
    assert usual is not None
    slots = {raw: plan("/é~a", raw) for raw in SPELLINGS[1:]}
    assert all(slots.values())
    assert {raw for raw, found in slots.items() if found and found.slot == usual.slot} == {
        "/%C3%A9~a"
    }
    assert len({found.slot for found in slots.values() if found}) == len(slots)
