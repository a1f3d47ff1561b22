"""Choosing one of a rule's values by the client's preferences (RFC 9110 §12.5)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import CharsetAccept, LanguageAccept, MIMEAccept
from werkzeug.http import parse_accept_header

from pagegen.negotiation import MAX_MEMBERS, NEGOTIATED, preferred


class Case(NamedTuple):
    """What a client sends, what the rule offers, and which offer it gets."""

    id: str
    rfc: str
    header: str
    given: str
    offers: tuple[str, ...]
    expect: str | None


LANGUAGES = ("en", "de", "de-AT")
TYPES = ("text/html", "application/json")
CASES = [
    Case("quality", "9110 §12.4.2", "accept-language", "de;q=0.5,en;q=0.7", LANGUAGES, "en"),
    Case("no-quality-is-1", "9110 §12.4.2", "accept-language", "en;q=0.9,de", LANGUAGES, "de"),
    Case("server-order", "9110 §12.1", "accept-language", "de,en", LANGUAGES, "en"),
    Case("q-0-excludes", "9110 §12.4.2", "accept-language", "en;q=0,*", LANGUAGES, "de"),
    Case("all-excluded", "9110 §12.4.2", "accept-language", "*;q=0", LANGUAGES, None),
    Case("none-fits", "9110 §12.5.4", "accept-language", "fr,nl;q=0.3", LANGUAGES, None),
    Case("empty", "9110 §12.5.4", "accept-language", "", LANGUAGES, None),
    Case("wider-offer", "4647 §3.4", "accept-language", "en-GB", LANGUAGES, "en"),
    Case("narrower-offer", "4647 §3.3.1", "accept-language", "de", ("en", "de-AT"), "de-AT"),
    Case("exact-first", "4647 §3.4", "accept-language", "de-AT,de;q=0.5", ("de-AT", "de"), "de-AT"),
    Case("no-part-of-a-subtag", "4647 §3.3.1", "accept-language", "d", LANGUAGES, None),
    Case("any-case", "9110 §8.5.1", "accept-language", "DE-at", ("de-AT",), "de-AT"),
    Case("spaces", "9110 §5.6.3", "accept-language", " de ; q = 0.5 , en ; Q=0.4", LANGUAGES, "de"),
    Case("media-exact", "9110 §12.5.1", "accept", "application/json", TYPES, "application/json"),
    Case("media-any", "9110 §12.5.1", "accept", "*/*", TYPES, "text/html"),
    Case("media-range", "9110 §12.5.1", "accept", "application/*", TYPES, "application/json"),
    Case(
        "closest-range-decides",
        "9110 §12.5.1",
        "accept",
        "text/*;q=0.3,text/html;q=0.9,*/*;q=0.5",
        ("text/plain", "text/html", "image/png"),
        "text/html",
    ),
    Case("media-none", "9110 §12.5.1", "accept", "image/*", TYPES, None),
    Case("coding", "9110 §12.5.3", "accept-encoding", "gzip, br;q=0.9", ("br", "gzip"), "gzip"),
    Case("coding-any", "9110 §12.5.3", "accept-encoding", "*;q=0.1", ("br", "gzip"), "br"),
    Case("coding-off", "9110 §12.5.3", "accept-encoding", "gzip;q=0", ("gzip",), None),
    Case("charset", "9110 §12.5.2", "accept-charset", "UTF-8", ("utf-8",), "utf-8"),
    Case("q-over-1-is-no-quality", "9110 §12.4.2", "accept-charset", "a;q=7", ("a",), "a"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_client_gets_the_offer_it_likes_best(case: Case) -> None:
    assert preferred(case.header, case.given, case.offers) == case.expect


def test_members_behind_the_last_counted_one_are_ignored() -> None:
    value = ",".join(f"x{number}" for number in range(MAX_MEMBERS))
    assert preferred("accept-language", value + ",de", LANGUAGES) is None
    assert preferred("accept-language", "de," + value, LANGUAGES) == "de"


HEADERS = st.sampled_from(sorted(NEGOTIATED))
PIECES = st.sampled_from([*"*/-,;=qQ01. \t", "q=", "0.5", "de", "en-GB", "text/html", "\xa0", "ß"])


@settings(deadline=None, max_examples=300)
@given(HEADERS, st.one_of(st.text(), st.lists(PIECES, max_size=60).map("".join)))
def test_no_text_raises_and_the_choice_is_an_offer_or_none(header: str, value: str) -> None:
    assert preferred(header, value, LANGUAGES) in (*LANGUAGES, None)


@pytest.mark.parametrize("header", sorted(NEGOTIATED))
@pytest.mark.parametrize("unit", [";", ",", " ", "\t", "q", "q=", ";q", "; q = ", "a;q=0.", "*"])
def test_eight_kilobytes_of_one_thing_are_read(header: str, unit: str) -> None:
    # Each parameter is tried once, and a pattern of fixed words and single runs of spaces cannot
    # back up further than the run: the work is linear in the length.
    value = unit * (8192 // len(unit))
    assert preferred(header, value, ("x",)) in ("x", None)


def _accept(name: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quality = st.sampled_from(["", ";q=1", ";q=0.5", ";q=0.25", ";q=0"])
    member = st.builds("{}{}".format, name, quality)
    return st.lists(member, min_size=1, max_size=6, unique_by=lambda m: m.split(";")[0]).map(
        ", ".join
    )


def _best(value: str, header: str, offers: tuple[str, ...]) -> str | None:
    kinds = {
        "accept": MIMEAccept, "accept-language": LanguageAccept, "accept-charset": CharsetAccept,
    }  # fmt: skip
    best: str | None = parse_accept_header(value, kinds[header]).best_match(list(offers))
    return best


MEDIA = _accept(st.sampled_from(["text/html", "text/plain", "text/*", "*/*", "image/png"]))


@settings(deadline=None, max_examples=300)
@given(MEDIA)
def test_media_types_are_chosen_as_werkzeug_chooses_them_by_quality(value: str) -> None:
    # Where two offers have the same quality werkzeug takes the more exactly named one and pagegen
    # the server's first; the *quality* that the client gave the chosen one must be the same.
    offers = ("text/html", "text/plain", "image/png")
    ours, theirs = preferred("accept", value, offers), _best(value, "accept", offers)
    accept = parse_accept_header(value, MIMEAccept)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert accept.quality(ours) == accept.quality(theirs)


@settings(deadline=None, max_examples=200)
@given(_accept(st.sampled_from(["utf-8", "ascii", "koi8-r"])))
def test_charsets_have_the_quality_that_werkzeug_reads(value: str) -> None:
    offers = ("utf-8", "ascii", "koi8-r")
    ours, theirs = (
        preferred("accept-charset", value, offers),
        _best(value, "accept-charset", offers),
    )
    accept = parse_accept_header(value, CharsetAccept)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert accept.quality(ours) == accept.quality(theirs)
