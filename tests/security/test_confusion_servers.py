"""Targets and hosts as real servers hand them on: each gets the page of its own.

The site tells what it sees. What the bare application sees of a target is asked for with
credentials, which bypass; whoever asks without must be told the same, from the cache or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Final

import pytest

from tests.security.requests_servers import BARE, COMMANDS, Site, serving

HOST: Final = "Host: shop.example\r\n"


@pytest.fixture(scope="module", params=COMMANDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The telling site on each server."""
    with serving(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


_PLACES: Final = ("/account", "/static/app")
_SUFFIXES: Final = (
    "", "/", ".css", "/x.css", ";.css", ";a=b/x.css", "%3b.css", "%3B.css", "%00.css", "%0a.css",
    "%0d%0aX:y", "%23.css", "%3f.css", "?.css", "??", "?a=1;b=2", "?a=1&a=2", "?a[]=1&a[]=2",
    "?=&=", "?a+b", "?a%20b", "?a%2Bb", "%2f..%2faccount", "/..%2faccount", "/%2e%2e/account",
    "/.%2e/account", "/../account", "/./", "//", "//account", "/..", "/...", "%5c..%5caccount",
    "\\..\\account", "%c0%ae%c0%ae/", "%c0%af", "%e0%80%af", "%ff", "%ed%a0%80", "%C3%A9", "%c3%a9",
    "e%CC%81", "%EF%BC%8Ecss", "%EF%BC%8Faccount", "%E2%81%84", "%252e%252e%252f", "%25", "%",
    "%4", "%zz", "%u002e", "<script>", '"', "'", "|", "[]", "%5B%5D", "{}", "^", "`", "~", "%7E",
    "#.css", "#?a", ":80", "@evil.example", "!", "*", ",", "$", "&", "=", "+", "%20", "%09",
    "%2", "%E2%80%AE", "%EF%BB%BF", "%E2%80%A8", "\xe9", "A", "%41", "%61", "/%2f", "%7f", "%80",
)  # fmt: skip
_WHOLE: Final = (
    "*", "account", "/", "//", "///account", "//evil.example/account", "/%2faccount", "\\account",
    "http://shop.example/account", "http://evil.example/account", "HTTP://evil.example/account",
    "http://me@shop.example/account", "http://shop.example:99/account", "https://a/account",
    "http:///account", "http:account", "javascript:alert(1)", "shop.example:80",
    "/" + "a/" * 2000, "/?" + "a&" * 2000,
)  # fmt: skip
TARGETS: Final = tuple(a + b for a, b in product(_PLACES, _SUFFIXES)) + _WHOLE


@pytest.mark.timeout(300)
def test_every_target_gets_the_page_of_what_the_application_sees_of_it(site: Site) -> None:
    views, traces = {}, set()
    for target in TARGETS:
        answer = site.get(target, HOST + BARE)
        views[target] = answer.seen if answer.status == 200 else None
    for seed in (1, 2):
        order = list(TARGETS)
        Random(seed).shuffle(order)
        for target in order:
            answer = site.get(target, HOST)
            assert (answer.status == 200) is (views[target] is not None), target
            if views[target] is not None:
                assert answer.seen == views[target], target
                traces.add(answer.trace)
    assert traces == {"uri-miss, stored", "hit", "bypass: path"}


def _host(*values: str) -> str:
    return "".join(f"Host: {value}\r\n" for value in values)


#: Hosts of the site, as clients may write them, and what the application sees of each.
KEPT: Final = {
    "as it is": (_host("shop.example"), "shop.example"),
    "in capitals": (_host("SHOP.Example"), "shop.example"),
    "with a port": (_host("shop.example:8443"), "shop.example:8443"),
    "with the default port": (_host("shop.example:80"), "shop.example:80"),
    "with the root's dot": (_host("shop.example."), "shop.example."),
    "a subdomain": (_host("eu.blog.example"), "eu.blog.example"),
    "an address": (_host("127.0.0.1:8000"), "127.0.0.1:8000"),
    "an address of six": (_host("[::1]:8000"), "[::1]:8000"),
    "with blanks in front": ("Host: \t  shop.example\r\n", "shop.example"),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_hosts_of_the_site_have_pages_of_their_own(site: Site, name: str) -> None:
    head, seen = KEPT[name]
    for _ in range(2):
        answer = site.get("/kept", head)
        assert answer.seen["host"] == seen
    assert answer.trace == "hit"


#: Heads without a host, with more than one, or with one that is not the site's.
NOT_KEPT: Final = {
    "another's": _host("evil.example"),
    "a longer name": _host("shop.example.evil.example"),
    "its subdomain": _host("www.shop.example"),
    "of another port": _host("api.example:81"),
    "two": _host("shop.example", "evil.example"),
    "two, the other way": _host("evil.example", "shop.example"),
    "twice the same": _host("shop.example", "shop.example"),
    "none": "",
    "empty": _host(""),
    "with a slash": _host("shop.example/evil"),
    "with a backslash": _host("shop.example\\evil"),
    "with a blank": _host("shop.example evil.example"),
    "with a tab": _host("shop.example\tevil.example"),
    "with a comma": _host("shop.example,evil.example"),
    "with a user": _host("evil@shop.example"),
    "behind a user": _host("shop.example@evil.example"),
    "with a query": _host("shop.example?x"),
    "with a fragment": _host("shop.example#x"),
    "with a scheme": _host("http://shop.example"),
    "with an empty port": _host("shop.example:"),
    "with a named port": _host("shop.example:http"),
    "with blanks behind": _host("shop.example \t "),
    "with a control character": _host("shop.example\x01"),
    "with NUL": _host("shop.example\x00"),
    "with a high byte": _host("shop.exampl\xe9"),
    "escaped": _host("shop%2eexample"),
    "half an address": _host("[::1"),
    "an address with a zone": _host("[::1%25lo]"),
    "on a folded line": "Host:\r\n shop.example\r\n",
    "with a blank before the colon": "Host : shop.example\r\n",
    "with a line feed alone": "Host: evil.example\nHost: shop.example\r\n",
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_no_page_is_kept_for_what_is_no_host_of_the_site(site: Site, name: str) -> None:
    for version in ("1.1", "1.0"):
        for target in ("/not-kept", "http://shop.example/not-kept"):
            answer = site.get(target, NOT_KEPT[name], version)
            # Some servers mend a line, and pass on what is then a host of the site.
            mended = answer.status == 200 and answer.seen["host"] == "shop.example"
            assert answer.status < 500
            assert mended or answer.status in (0, 400) or answer.trace.startswith("bypass: ")


def test_the_host_of_an_absolute_target_poisons_nobody(site: Site) -> None:
    for _ in range(2):
        for target in ("http://evil.example/absolute", "http://me@evil.example:99/absolute"):
            answer = site.get(target, HOST)
            assert answer.status < 500
            assert b"evil.example" not in site.get("/absolute", HOST).data
    assert site.get("/absolute", HOST).trace == "hit"
