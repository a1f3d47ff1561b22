"""``allowed_hosts``: whose pages are kept, and what becomes of a Host that is none or another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.fields import host
from pagegen.readers import Hosts, hosts
from pagegen.stores import MemoryStore
from tests.conftest import MakeScenario

PAGE: Final = Rule(path="/{name}", share="public", ttl="1h")
ALLOWED: Final = ("Shop.example", "api.example:8443", ".blog.example", "*.cdn.example:80", "[::1]")


@pytest.mark.parametrize(
    ("value", "name", "port"),
    [
        ("shop.example", "shop.example", ""),
        ("SHOP.Example:080", "shop.example", "080"),
        ("shop.example.", "shop.example.", ""),
        ("a", "a", ""),
        ("under_score.example", "under_score.example", ""),
        ("127.0.0.1:65535", "127.0.0.1", "65535"),
        ("[::1]", "[::1]", ""),
        ("[2001:DB8::1]:80", "[2001:db8::1]", "80"),
        ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", ""),
        ("xn--caf-dma.example", "xn--caf-dma.example", ""),
    ],
)
def test_a_host_is_read_as_name_and_port(value: str, name: str, port: str) -> None:
    assert host(value) == (name, port)


#: What is no host, or could be read as another by somebody else's parser.
NO_HOSTS: Final = (
    "", " ", "shop.example ", " shop.example", "shop.example/", "shop.example/evil", "/", "//a",
    "me@shop.example", "shop.example@evil.example", ":80", "shop.example:", "shop.example:http",
    "shop.example:80:80", "shop.example:123456", "shop.example:-1", "shop.example:８０",
    "shop.example, evil.example", "shop.example,", "shop.example;a", "shop.example?a",
    "shop.example#a", "shop.example\\evil", "shop.example%2eevil", "shop.example%00",
    "http://shop.example", "shop.example\r\nX: y", "shop.example\n", "shop\x00.example", "a b",
    "shop.example\t", "caf\xe9.example", "shop。example", "ＳＨＯＰ.example", "<b>", '"a"', "'a'",
    "$(id)", "*", "*.example", ".example", "-a.example", "_", "..", "[", "[]", "[::1", "::1",
    "[::1]a", "[::1]:", "[::1%25eth0]", "[v1.a]", "[::1]]", "[g::1]", "x" * 300, "1" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("value", NO_HOSTS, ids=lambda value: repr(value)[:20])
def test_what_somebody_could_read_as_another_host_is_none(value: str) -> None:
    assert host(value) is None
    assert not Hosts().allow(value)


def test_no_host_is_none() -> None:
    assert host(None) is None
    assert not hosts(["*"]).allow(None)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("shop.example", True),
        ("SHOP.EXAMPLE", True),
        ("shop.example.", True),
        ("shop.example:1234", True),
        ("shop.example.:80", True),
        ("shop.example..", False),
        ("evilshop.example", False),
        ("shop.example.evil.example", False),
        ("www.shop.example", False),
        ("api.example:8443", True),
        ("api.example", False),
        ("api.example:443", False),
        ("api.example:08443", False),
        ("blog.example", True),
        ("a.b.blog.example:8000", True),
        ("evilblog.example", False),
        ("cdn.example:80", False),
        ("a.cdn.example:80", True),
        ("a.cdn.example", False),
        ("[::1]:8000", True),
        ("[::2]", False),
        ("127.0.0.1", False),
    ],
)
def test_a_host_is_allowed_by_name_port_and_domain(value: str, allowed: bool) -> None:
    assert hosts(ALLOWED).allow(value) is allowed


def test_none_are_any_and_so_is_a_star() -> None:
    for given in ([], (), ["*"], ["shop.example", "*"]):
        assert hosts(given).allow("whoever.example:1")


@pytest.mark.parametrize(
    "entry",
    [
        "", "https://shop.example", "shop.example/", "shop.example:", "shop.example:http", "a b",
        "me@shop.example", "*.*.example", "shop.*", "**", ".", "*.", "..example", ".[::1]",
        "café.example", "shop.example.", "shop.example, b.example", "::1", "/.*/", "~^a",
    ],
)  # fmt: skip
def test_an_entry_that_is_no_host_stops_the_start(entry: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PageCache(allowed_hosts=["shop.example", entry])
    assert str(raised.value).startswith(f"[pagegen]: allowed_hosts: {entry!r} is no host. Write ")


@pytest.mark.parametrize("given", ["shop.example", 1, [1], None, {"a": 1}])
def test_what_is_no_list_of_texts_stops_the_start(given: Any) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        PageCache(allowed_hosts=given)


def test_a_file_says_hosts_and_its_name_in_errors(tmp_path: Path) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text('[pagegen]\nallowed_hosts = ["shop.example"]\n')
    assert PageCache.from_toml(file).configuration.settings.allowed_hosts == ("shop.example",)
    file.write_text('[pagegen]\nallowed_hosts = ["http://shop.example"]\n')
    with pytest.raises(ConfigError, match=r"pagegen\.toml: \[pagegen\]: allowed_hosts"):
        PageCache.from_toml(file)


def test_only_allowed_hosts_have_pages(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, allowed_hosts=ALLOWED)
    stage.handler = lambda seen: f"page of {seen.fields['host']}"
    assert stage.get("/a", {"host": "SHOP.example"}).text == "page of shop.example"
    assert stage.get("/a", {"host": "shop.example"}).trace == "hit"
    evil = stage.get("/a", {"host": "EVIL.example"})
    # The application answers it as it would: it alone knows what that host is to it.
    assert (evil.text, evil.trace) == ("page of EVIL.example", "bypass: host")


@pytest.mark.parametrize("value", NO_HOSTS, ids=lambda value: repr(value)[:20])
def test_a_host_that_is_none_has_no_page(scenario: MakeScenario, value: str) -> None:
    if not all(ord(character) < 256 for character in value):
        value = value.encode().decode("latin-1")
    answer = scenario(PAGE).get("/a", {"host": value})
    assert (answer.status, answer.trace) == (200, "bypass: host")


@pytest.mark.parametrize(
    "pair",
    [
        ("shop.example", "shop.example:80"),
        ("shop.example:80", "shop.example:080"),
        ("shop.example", "shop.example."),
        ("shop.example", "shop.example:8080"),
        ("[::1]", "[0:0:0:0:0:0:0:1]"),
        ("127.0.0.1", "127.1"),
    ],
)
def test_hosts_that_handlers_can_tell_apart_have_pages_of_their_own(
    scenario: MakeScenario, pair: tuple[str, str]
) -> None:
    stage = scenario(PAGE)
    stage.handler = lambda seen: seen.fields["host"]
    for value in pair * 2:
        assert stage.get("/a", {"host": value}).text == value


def test_a_flood_of_hosts_stores_nothing(scenario: MakeScenario) -> None:
    store = MemoryStore()
    stage = scenario(PAGE, allowed_hosts=["shop.example:80"], store=store)
    stage.get("/a", {"host": "shop.example:80"})
    kept = store.statistics()
    for number in range(300):
        stage.get("/a", {"host": f"a{number}.example"})
        stage.get("/a", {"host": f"shop.example:{number + 81}"})
    assert store.statistics() == kept
    assert stage.get("/a", {"host": "shop.example:80"}).trace == "hit"
