"""Which URLs the answer to a write invalidates (RFC 9111 §4.4, RFC 3986 §5)."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pagegen import Rule as CacheRule
from pagegen.fields import MAX_VALUE
from pagegen.law.unsafe import forgotten, url_namespace
from pagegen.messages import SAFE_METHODS, Fields, GivenFields, Request, ResponseHead
from pagegen.namespaces import MAX_LENGTH, is_name
from pagegen.rulebook import RuleBook

BOOK = RuleBook(
    (
        CacheRule(path="/", share="public", ttl="1h"),
        CacheRule(path="/admin/**", cache=False),
        CacheRule(path="/heads", share="public", ttl="1h", methods=["HEAD"]),
        CacheRule(path="/items/**", share="public", ttl="1h"),
        CacheRule(path="/lists/{name}", share="public", ttl="1h"),
    )
)
HOST = "shop.example"
ITEM = ("/items/7", "/items/7/")


def write(
    path: str,
    *,
    method: str = "POST",
    scheme: str = "http",
    host: str | None = HOST,
    root: str = "",
) -> Request:
    """A request to a path below ``root``, without ``Host`` where it is None."""
    fields = GivenFields({} if host is None else {"host": host})
    return Request(method, scheme, root, path, None, "", fields, {})


class Rule(NamedTuple):
    """An answer to ``POST /items/7`` at ``http://shop.example``, and the paths it invalidates."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: tuple[str, ...]
    request: dict[str, Any] = {}
    status: int = 200


def to(value: str) -> Fields:
    """Fields of a response with this Location."""
    return (("Location", value),)


LOCAL = to("/items/8")
RULES = [
    Rule("target", "9111 §4.4-2", "the target goes", (), ITEM),
    Rule("unknown", "9111 §4.4-2", "a method nobody knows is unsafe", (), ITEM, {"method": "BREW"}),
    Rule("delete", "9111 §4.4-2", "so is DELETE", (), ITEM, {"method": "DELETE"}, 204),
    Rule("get", "9111 §4.4-2", "GET is safe", LOCAL, (), {"method": "GET"}),
    Rule("get-low", "9111 §4.4-2", "in any case of letters", LOCAL, (), {"method": "get"}),
    Rule("299", "9111 §4.4-8", "2xx is no error", (), ITEM, {}, 299),
    Rule("303", "9111 §4.4-8", "3xx neither", (), ITEM, {}, 303),
    Rule("399", "9111 §4.4-8", "up to its end", (), ITEM, {}, 399),
    Rule("400", "9111 §4.4-8", "4xx is", LOCAL, (), {}, 400),
    Rule("500", "9111 §4.4-8", "5xx is", LOCAL, (), {}, 500),
    Rule("101", "9111 §4.4-8", "1xx is none of both", LOCAL, (), {}, 101),
    Rule("location", "9111 §4.4-4", "Location goes too", LOCAL, (*ITEM, "/items/8")),
    Rule(
        "content-location",
        "9111 §4.4-4",
        "so does Content-Location",
        (("content-location", "/items/8"), ("LOCATION", "/items/9")),
        (*ITEM, "/items/9", "/items/8"),
    ),
    Rule("itself", "9111 §4.4-4", "the target once", to("/items/7"), ITEM),
    Rule(
        "lines",
        "9111 §4.4-4",
        "each of two",
        (*LOCAL, *to("/items/9")),
        (*ITEM, "/items/8", "/items/9"),
    ),
    Rule(
        "absolute",
        "9111 §4.4-5",
        "same origin",
        to("http://shop.example/items/8"),
        (*ITEM, "/items/8"),
    ),
    Rule("case", "9111 §4.4-5", "no case", to("HTTP://SHOP.example/items/8"), (*ITEM, "/items/8")),
    Rule(
        "port",
        "9111 §4.4-5",
        "default port",
        to("http://shop.example:80/items/8"),
        (*ITEM, "/items/8"),
    ),
    Rule(
        "no-port",
        "9111 §4.4-5",
        "no digits",
        to("http://shop.example:/items/8"),
        (*ITEM, "/items/8"),
    ),
    Rule(
        "network",
        "9111 §4.4-5",
        "the target's scheme",
        to("//shop.example/items/8"),
        (*ITEM, "/items/8"),
    ),
    Rule("other-host", "9111 §4.4-5", "another host", to("http://evil.example/items/8"), ITEM),
    Rule("other-network", "9111 §4.4-5", "without scheme", to("//evil.example/items/8"), ITEM),
    Rule("suffix", "9111 §4.4-5", "a longer host", to("//shop.example.evil.example/items/8"), ITEM),
    Rule("sub", "9111 §4.4-5", "a host below", to("//www.shop.example/items/8"), ITEM),
    Rule("other-port", "9111 §4.4-5", "another port", to("http://shop.example:8080/items/8"), ITEM),
    Rule("other-scheme", "9111 §4.4-5", "another scheme", to("https://shop.example/items/8"), ITEM),
    Rule("443", "9111 §4.4-5", "its port", to("http://shop.example:443/items/8"), ITEM),
    Rule(
        "https",
        "9111 §4.4-5",
        "of the target's scheme",
        to("https://shop.example:443/items/8"),
        (*ITEM, "/items/8"),
        {"scheme": "https"},
    ),
    Rule("ftp", "9111 §4.4-5", "a scheme without pages", to("ftp://shop.example/items/8"), ITEM),
    Rule("user", "9111 §4.4-5", "user information", to("http://a@shop.example/items/8"), ITEM),
    Rule("password", "9111 §4.4-5", "with a password", to("//a:b@shop.example/items/8"), ITEM),
    Rule(
        "trick", "9111 §4.4-5", "a host in it", to("http://shop.example@evil.example/items/8"), ITEM
    ),
    Rule("backslash", "9111 §4.4-5", "browsers turn it", to("/\\shop.example/items/8"), ITEM),
    Rule("no-host", "9111 §4.4-5", "no host", to("http:///items/8"), ITEM),
    Rule("scheme-only", "9111 §4.4-5", "no authority", to("http:/items/8"), ITEM),
    Rule("javascript", "9111 §4.4-5", "no path", to("javascript:/items/8"), ITEM),
    Rule("space", "9111 §4.4-5", "no reference", to("/items/8 9"), ITEM),
    Rule("control", "9111 §4.4-5", "nor this", to("/items/8\x00"), ITEM),
    Rule("odd-port", "9111 §4.4-5", "no port", to("//shop.example:x/items/8"), ITEM),
    Rule(
        "authority", "3986 §6.2.3", "no path is the root", to("http://shop.example"), (*ITEM, "/")
    ),
    Rule("space-behind", "9110 §5.6.3", "another space is no space", to("\xa0/items/8"), ITEM),
    Rule("letters", "3986 §5.2.3", "letters are the path's", to("X8X"), (*ITEM, "/items/X8X")),
    Rule(
        "longest",
        "design §6",
        "as long as can be",
        to(f"/items/{'a' * (MAX_VALUE - 7)}"),
        (*ITEM, f"/items/{'a' * (MAX_VALUE - 7)}"),
    ),
    Rule(
        "surrogate",
        "9110 §4.2.3",
        "beside what is no UTF-8",
        to("8"),
        ("/items/\ud800/7", "/items/\ud800/7/"),
        {"path": "/items/\ud800/7"},
    ),
    Rule(
        "pathless", "3986 §5.2.3", "below the root", to("items/8"), ("/", "/items/8"), {"path": ""}
    ),
    Rule(
        "ending",
        "design §2",
        "no letter is a slash",
        (),
        ("/items/X", "/items/X/"),
        {"path": "/items/X"},
    ),
    Rule("origin", "9111 §4.4-5", "a scheme without origins", LOCAL, ITEM, {"scheme": "gopher"}),
    Rule("long", "design §6", "too long", to(f"/items/{'a' * MAX_VALUE}"), ITEM),
    Rule("relative", "3986 §5.2.3", "beside the target", to("8"), (*ITEM, "/items/8")),
    Rule(
        "relative-decoded",
        "3986 §5.2.3",
        "beside a decoded target",
        to("8"),
        ("/items/日本/7", "/items/日本/7/", "/items/日本/8"),
        {"path": "/items/日本/7"},
    ),
    Rule("dot", "3986 §5.2.4", "a dot is here", to("./8"), (*ITEM, "/items/8")),
    Rule("dots", "3986 §5.2.4", "two are above", to("../lists/a"), (*ITEM, "/lists/a")),
    Rule(
        "dots-top", "3986 §5.2.4", "never over the top", to("../../../items/8"), (*ITEM, "/items/8")
    ),
    Rule("dots-end", "3986 §5.2.4", "at the end", to("8/9/.."), (*ITEM, "/items/8/")),
    Rule("query", "3986 §5.2.2", "the query is dropped", to("/items/8?a=/b"), (*ITEM, "/items/8")),
    Rule("fragment", "3986 §5.2.2", "the fragment too", to("/items/8#?a"), (*ITEM, "/items/8")),
    Rule("only-query", "3986 §5.2.2", "a query of the target", to("?page=2"), ITEM),
    Rule("nothing", "3986 §5.2.2", "the target again", to(""), ITEM),
    Rule("outer", "9110 §5.5", "whitespace around", to(" /items/8\t"), (*ITEM, "/items/8")),
    Rule("escaped", "9110 §4.2.3", "decoded", to("/items/%C3%A9%20%38"), (*ITEM, "/items/é 8")),
    Rule("raw", "9110 §5.5", "bytes of UTF-8", to("/items/Ã©"), (*ITEM, "/items/é")),
    Rule("no-utf-8", "9110 §4.2.3", "no page is there", to("/items/%E9"), ITEM),
    Rule("no-rule", "design §2", "no rule, no page", to("/other"), ITEM),
    Rule("no-cache", "design §2", "no cache, no page", to("/admin/8"), ITEM),
    Rule("elsewhere", "design §2", "a write elsewhere", (), (), {"path": "/other"}),
    Rule("bypassed", "design §2", "nor where none are kept", (), (), {"path": "/admin/x"}),
    Rule(
        "elsewhere-to",
        "9111 §4.4-4",
        "but it may point to a page",
        LOCAL,
        ("/items/8",),
        {"path": "/other"},
    ),
    Rule(
        "slash",
        "design §2",
        "without its slash",
        (),
        ("/items/7/", "/items/7"),
        {"path": "/items/7/"},
    ),
    Rule(
        "slashes",
        "design §2",
        "with too many",
        (),
        ("/items//7", "/items/7", "/items/7/"),
        {"path": "/items//7"},
    ),
    Rule(
        "target-dots",
        "9110 §4.2.3",
        "and with dots",
        (),
        ("/items/./x/../7", "/items/7", "/items/7/"),
        {"path": "/items/./x/../7"},
    ),
    Rule(
        "both-odd",
        "design §2",
        "half repaired too",
        (),
        ("/items//./7", "/items/./7", "/items/7", "/items/7/"),
        {"path": "/items//./7"},
    ),
    Rule(
        "head",
        "9111 §4.4-2",
        "where HEAD alone is cached",
        (),
        ("/heads",),
        {"path": "/heads"},
    ),
    Rule("no-host-field", "9111 §4.4-2", "no host, no pages", LOCAL, (), {"host": None}),
    Rule("two-hosts", "9110 §7.2", "nor with two", LOCAL, (), {"host": "a.example, b.example"}),
    Rule("odd-host", "9110 §7.2", "nor with a path", LOCAL, (), {"host": "shop.example/x"}),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc.replace(' §', '-')}-{rule.id}")
def test_an_answer_invalidates_its_target_and_what_it_names_on_its_origin(rule: Rule) -> None:
    request = write(**({"path": "/items/7"} | rule.request))
    names = forgotten(BOOK, request, ResponseHead(rule.status, rule.given))
    assert names == tuple(url_namespace(HOST, path) for path in rule.expect), rule.says


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_a_safe_method_invalidates_no_url(method: str) -> None:
    head = ResponseHead(200, LOCAL)
    assert forgotten(BOOK, write("/items/7", method=method), head) == ()


@pytest.mark.parametrize(
    ("own_url", "expect"),
    [(True, (*ITEM, "/items/8")), ("target", ITEM), (False, ())],
)
def test_a_rule_says_which_writes_forget_its_pages_by_their_url(
    own_url: Any, expect: tuple[str, ...]
) -> None:
    book = RuleBook((CacheRule(path="/items/**", share="public", ttl="1h", own_url=own_url),))
    for fields in (LOCAL, (("Content-Location", "/items/8"),)):
        names = forgotten(book, write("/items/7"), ResponseHead(200, fields))
        assert names == tuple(url_namespace(HOST, path) for path in expect)
    # What is the target and named as well is the target.
    names = forgotten(book, write("/items/7"), ResponseHead(200, to("/items/7")))
    assert names == tuple(url_namespace(HOST, path) for path in expect[:2])


@pytest.mark.parametrize(
    ("root", "location", "expect"),
    [
        ("/shop", "/shop/items/8", ("/shop/items/8",)),
        ("/shop", "8", ("/shop/items/8",)),
        ("/shop", "http://shop.example/shop/items/8", ("/shop/items/8",)),
        ("/shop", "/items/8", ()),  # another application's
        ("/shop", "/shopping/items/8", ()),
        ("/shop", "/abcd/items/8", ()),  # as long as ours
        ("/shopX", "/shopX/items/8", ("/shopX/items/8",)),
        ("/shop", "/shop", ()),
        ("/shop?", "/shop/items/8", ("/shop?/items/8",)),  # the ASGI front's mark
        ("/sh op", "/sh%20op/items/8", ("/sh op/items/8",)),
        ("/", "/items/8", ("//items/8",)),
    ],
)
def test_pages_below_a_mount_point_go_by_the_root_of_their_requests(
    root: str, location: str, expect: tuple[str, ...]
) -> None:
    head = ResponseHead(201, to(location))
    names = forgotten(BOOK, write("/items/7", root=root), head)
    paths = (f"{root}/items/7", f"{root}/items/7/", *expect)
    assert names == tuple(url_namespace(HOST, path) for path in paths)


@pytest.mark.parametrize(
    ("host", "path", "expect"),
    [
        ("shop.example", "/items/7", "url:shop.example/items/7"),
        ("SHOP.example", "/Items", "url:shop.example/Items"),
        ("shop.example:80", "/", "url:shop.example/"),
        ("shop.example:443", "/", "url:shop.example/"),
        ("shop.example:0443", "/", "url:shop.example/"),
        ("shop.example:", "/", "url:shop.example/"),
        ("shop.example:8080", "/", "url:shop.example:8080/"),
        ("shop.example:08080", "/", "url:shop.example:8080/"),
        ("shop.example.", "/", "url:shop.example/"),  # the root's dot
        ("shop.example.:8080", "/", "url:shop.example:8080/"),
        ("[::1]", "/", "url:[::1]/"),
        ("[::80]", "/", "url:[::80]/"),
        ("[::1]:80", "/", "url:[::1]/"),
        ("h", "/é b", "url:h/%C3%A9%20b"),
        ("h", "/100%25/?#", "url:h/100%2525/%3F%23"),
        ("h", "/\ud800", "url:h/%ED%A0%80"),
        ("h", "/a!$&'()*+,;:=@~", "url:h/a!$&'()*+,;:=@~"),
        ("a b", "/", "url:a%20b/"),
        ("h\ud800", "/", "url:h%ED%A0%80/"),
    ],
)
def test_a_url_has_a_readable_namespace(host: str, path: str, expect: str) -> None:
    assert url_namespace(host, path) == expect


def test_a_long_url_has_a_namespace_of_its_own() -> None:
    room = MAX_LENGTH - len("url:h/")
    whole, cut, other = (url_namespace("h", f"/{'a' * room}{more}") for more in ("", "b", "c"))
    assert whole == f"url:h/{'a' * room}"
    assert cut != other
    assert cut.startswith("url:h#")
    assert len(cut) == len("url:h#") + 40  # 160 bits
    far = url_namespace("h" * 300, f"/{'a' * room}")
    assert far.startswith("url:hhh")
    assert all(is_name(name) for name in (whole, cut, other, far))
    # The host is part of the digest, though not all of it is shown.
    assert far != url_namespace("h" * 301, f"/{'a' * room}")


PATHS = st.text(st.characters(codec=None), max_size=40).map(lambda text: f"/{text}")


@given(st.text(max_size=400), PATHS)
def test_every_url_namespace_is_a_name(host: str, path: str) -> None:
    assert is_name(url_namespace(host, path))


@given(PATHS, PATHS)
def test_two_paths_never_share_a_namespace(one: str, other: str) -> None:
    assert (url_namespace("h", one) == url_namespace("h", other)) is (one == other)


PIECES = st.sampled_from(
    ["/", "//", ".", "..", "/../", "./", "items", "lists", "a", "?", "#", ":", "%41", "%2F", HOST]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_references_are_resolved_as_urljoin_resolves_them(reference: str) -> None:
    # An oracle where it follows the RFC: it keeps empty segments and dots in other places.
    assume("//" not in reference and ":" not in reference and "%" not in reference)
    book = RuleBook((CacheRule(path="/**", share="public", ttl="1h"),))
    target = "/items/x/7"
    head = ResponseHead(201, to(reference))
    names = forgotten(book, write(target), head)
    path = urlsplit(urljoin(f"http://{HOST}{target}", reference)).path or "/"
    assert url_namespace(HOST, path) in names


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)), st.text(), st.text())
def test_no_reference_path_or_root_raises(reference: str, path: str, root: str) -> None:
    book = RuleBook((CacheRule(path="/**", share="public", ttl="1h"),))
    head = ResponseHead(201, (*to(reference), ("Content-Location", reference)))
    for name in forgotten(book, write(path, root=root), head):
        assert is_name(name)


@pytest.mark.parametrize("unit", ["/", "./", "../", "a/../", "%", "%41", ":", "//", "?", "é", "@"])
def test_eight_kilobytes_of_one_thing_end(unit: str) -> None:
    for size in (8192, 2**20):
        head = ResponseHead(201, to(f"/items/{unit * (size // len(unit))}"))
        names = forgotten(BOOK, write("/items/7"), head)
        assert url_namespace(HOST, "/items/7") in names
