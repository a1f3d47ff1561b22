"""What of a configuration loosens a promise is named at start, once; a careful one says nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.config import from_table, load
from pagegen.looseness import PAGE, Loose, found
from tests.docs.pages import ROOT, anchors

RULE = {"path": "/a", "share": "public", "ttl": "1h"}
KEY = "a key of sixteen characters"


def keys(rule: dict[str, Any] | None = None, **settings: Any) -> list[tuple[str, str]]:
    """Where and which settings are loose."""
    table = {"pagegen": settings, "rule": [RULE if rule is None else {**RULE, **rule}]}
    return [(loose.where, loose.key) for loose in found(from_table(table))]


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"mode": "http"}, "mode"),
        ({"passthrough": ["x-request-id"]}, "passthrough"),
        ({"passthrough": ["scope:user", "traceparent"]}, "passthrough"),
        ({"set_cookie": "drop"}, "set_cookie"),
        ({"ttl": {"200": "1h", "503": "5s"}}, "ttl"),
        ({"ttl": {"403": "5s", "404": "1h"}}, "ttl"),
    ],
)
def test_a_rule_that_loosens_a_promise_is_named(rule: dict[str, Any], key: str) -> None:
    assert keys(rule) == [('rule "/a"', key)]


def test_a_rule_that_says_nothing_but_public_is_of_mode_http() -> None:
    table = {"rule": [{"path": "/a", "share": "public"}]}
    assert [loose.key for loose in found(from_table(table))] == ["mode"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"store": "redis://127.0.0.1:1/0"}, "site_key"),
        ({"store": "memcached://127.0.0.1:1"}, "site_key"),
        (
            {"store": "lmdb://pages", "near": "1MiB", "near_max_staleness": "1s"},
            "near_max_staleness",
        ),
        ({"passthrough": ["traceparent", "x-debug"]}, "passthrough"),
    ],
)
def test_a_setting_that_loosens_a_promise_is_named(settings: dict[str, Any], key: str) -> None:
    assert keys(**settings) == [("[pagegen]", key)]


@pytest.mark.parametrize(
    ("identity", "key"),
    [({"anonymous": "reveal"}, "anonymous"), ({"reveal": ["cookie:session"]}, "reveal")],
)
def test_an_identity_that_shows_more_than_itself_is_named_where_a_rule_uses_it(
    identity: dict[str, Any], key: str
) -> None:
    table: dict[str, Any] = {
        "identity": {"user": {"from": ["scope:user.id"], **identity}},
        "rule": [{**RULE, "share": ["user"]}],
    }
    assert [(loose.where, loose.key) for loose in found(from_table(table))] == [
        ("[identity.user]", key)
    ]
    table["rule"] = [RULE]
    assert found(from_table(table)) == ()


CAREFUL = """
[pagegen]
store = "redis://127.0.0.1:6379/0"
near = "64MiB"
site = "shop"
site_key = "a key of sixteen characters"
encrypt = "identity"
cache_status = true
allowed_hosts = ["shop.example"]

[identity.user]
from = ["scope:user.id", "cookie:session"]

[[rule]]
path = "/admin/**"
cache = false

[[rule]]
path = "/items/{item:int}"
share = "public"
namespaces = ["item:{item}"]
ttl = { 200 = "1h", 301 = "1d", 404 = "1m", 410 = "1d" }
swr = "30s"
sie = "1h"
soft = true
other_query = "drop"
groups = true
compress = ["gzip"]
headers = { accept-language = { values = ["de", "en"] } }
[rule.query]
page = { type = "int", default = 0, min = 0, max = 100 }

[[rule]]
path = "/account"
share = ["user"]
ttl = "1h"
max_body = "8MiB"
client_reload = "ignore"
"""


def test_a_careful_configuration_is_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text(CAREFUL)
    assert found(load(file)) == ()
    PageCache([Rule(path="/a", share="public", ttl=60)], site_key=KEY).close()
    assert caplog.records == []


def test_the_demos_configuration_is_careful() -> None:
    assert found(load(ROOT / "demo_app" / "pagegen.toml")) == ()


def test_all_are_named_in_one_warning_that_leads_to_their_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = [
        Rule(path="/b", share="public", ttl=60, set_cookie="drop", passthrough=["x-a", "x-b"]),
        Rule(path="/a", name="a\nb", share="public", mode="http"),
    ]
    cache = PageCache(rules, passthrough=("x-c",))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("pagegen", logging.WARNING)
    text = record.getMessage()
    assert text.isprintable()
    assert text.startswith(f"this configuration loosens what pagegen promises ({PAGE}): [pagegen]")
    places = [
        text.index(said)
        for said in ("x-c", 'rule "/b" passthrough', "x-a, x-b", 'rule "/b" set_cookie', 'rule "a')
    ]
    assert places == sorted(places)
    assert len(found(cache.configuration)) == 4
    cache.close()


def test_each_says_where_it_stands_and_what_it_costs() -> None:
    rule = Rule(path="/a", share="public", ttl=60, set_cookie="drop")
    (loose,) = found(PageCache([rule]).configuration)
    assert loose == Loose('rule "/a"', "set_cookie", loose.what)
    assert str(loose) == f'rule "/a" set_cookie: {loose.what}'


def test_the_page_that_the_warning_names_is_there() -> None:
    path, _, anchor = PAGE.partition("#")
    assert anchor in anchors(path)
