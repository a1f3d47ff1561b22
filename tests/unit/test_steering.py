"""Fields that a cacheable request loses on its way to the handler (RFC 9110 §7.6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.steering import ANSWERED, HOP_BY_HOP, STEERING, answered, end_to_end, steers

STEER = [
    # What it names, a field of each published attack, and spellings of it.
    ("host", "X-Forwarded-Host"),
    ("host", "x-host"),
    ("host", "x-forwarded-server"),
    ("host", "x-http-host-override"),
    ("host", "forwarded"),
    ("host", "x-original-host"),
    ("scheme", "x-forwarded-scheme"),
    ("scheme", "x-forwarded-proto"),
    ("scheme", "x-forwarded-ssl"),
    ("port", "x-forwarded-port"),
    ("path", "X-Original-URL"),
    ("path", "x-rewrite-url"),
    ("path", "x-forwarded-prefix"),
    ("path", "x-script-name"),
    ("path", "x-invoke-path"),
    ("path", "x-now-route-matches"),
    ("method", "x-http-method"),
    ("method", "x-http-method-override"),
    ("method", "x-method-override"),
    ("client", "x-forwarded-for"),
    ("client", "x-real-ip"),
    ("client", "true-client-ip"),
    ("client", "x-client-ip"),
    ("client", "client-ip"),
    ("client", "cf-connecting-ip"),
    ("client", "x-cluster-client-ip"),
    ("environment", "proxy"),
    ("spelling", "X_FORWARDED_HOST"),
    ("spelling", "x-forwarded_host"),
    ("spelling", "X-HTTP_Method-Override"),
]
PLAIN = [
    *("accept", "accept-language", "cookie", "host", "origin", "referer", "user-agent"),
    *("x-requested-with", "x-csrf-token", "sec-fetch-site", "traceparent", "forwarded-nothing"),
    *("x-hostname", "proxy-thing", "x-real", "x-forwardedly", "via", "dnt", "save-data"),
]


@pytest.mark.parametrize(("what", "name"), STEER)
def test_a_field_that_names_something_else_than_its_request_steers(what: str, name: str) -> None:
    assert steers(name), what


@pytest.mark.parametrize("name", PLAIN)
def test_other_fields_do_not(name: str) -> None:
    assert not steers(name)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_field_of_one_connection_is_not_end_to_end(name: str) -> None:
    assert not end_to_end(name)
    assert not end_to_end(name.upper())
    assert not end_to_end(name.replace("-", "_"))


def test_the_connection_field_nominates_further_ones() -> None:
    assert end_to_end("X-Hop")
    assert not end_to_end("X-Hop", ("close", "x-hop"))
    assert end_to_end("x-other", ("x-hop",))


@pytest.mark.parametrize("name", PLAIN)
def test_others_are_end_to_end_and_for_the_handler(name: str) -> None:
    assert end_to_end(name)
    assert not answered(name)


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_conditions_and_ranges_are_answered_by_the_cache_in_any_spelling(name: str) -> None:
    assert answered(name)
    assert answered(name.title().replace("-", "_"))
    assert end_to_end(name)


@pytest.mark.parametrize("entry", sorted(STEERING | HOP_BY_HOP | ANSWERED))
def test_entries_are_in_the_form_that_names_are_compared_in(entry: str) -> None:
    stem = entry.removesuffix("*")
    assert stem
    assert stem == stem.lower()
    assert not set(stem) & set("_* ")


def test_no_entry_is_there_twice_in_effect() -> None:
    prefixes = [entry[:-1] for entry in STEERING if entry.endswith("*")]
    for prefix in prefixes:
        same = [e for e in STEERING if e.removesuffix("*").startswith(prefix)]
        assert len(same) == 1, same


@given(st.text())
def test_no_name_raises(name: str) -> None:
    assert steers(name) in (True, False)
    assert end_to_end(name) in (True, False)
    assert answered(name) in (True, False)
