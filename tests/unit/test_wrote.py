"""The cookie that tells writers from others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.fields import MAX_COOKIES
from pagegen.messages import GivenFields, Request
from pagegen.wrote import MARGIN, MAX_AHEAD, Wrote, others

KEY = "a secret of the site"
NOW = 1_700_000_000.0
OURS = Wrote(KEY, site="shop", window=30.0)


def asking(jar: str | None) -> Request:
    """A request with this Cookie field."""
    fields = GivenFields({} if jar is None else {"cookie": jar})
    return Request("GET", "http", "", "/", None, "", fields, {})


def pair(wrote: Wrote = OURS, now: float = NOW, *, secure: bool = False) -> str:
    """Name and value of the cookie, as a browser sends it back."""
    return wrote.cookie(now, secure=secure)[0].partition(";")[0]


def test_a_writer_is_known_as_long_as_others_may_get_the_old_page_and_a_minute_more() -> None:
    jar = pair()
    assert OURS.wrote(asking(jar), NOW)
    assert OURS.wrote(asking(jar), NOW + 30 + MARGIN - 0.1)
    assert not OURS.wrote(asking(jar), NOW + 30 + MARGIN)


def test_the_cookie_is_for_the_whole_host_and_for_no_script() -> None:
    value, until = OURS.cookie(NOW, secure=False)
    assert value.split("; ")[1:] == ["Max-Age=90", "Path=/", "HttpOnly", "SameSite=Lax"]
    assert until == NOW + 90


def test_on_https_it_is_bound_to_the_host() -> None:
    value, _ = OURS.cookie(NOW, secure=True)
    assert value.startswith("__Host-pagegen_wrote_")
    assert value.split("; ")[1:] == ["Max-Age=90", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    assert OURS.wrote(asking(value.partition(";")[0]), NOW)


@pytest.mark.parametrize("jar", ["a=b; {}", "{}; a=b", "  {} ;", "a={};{}"])
def test_it_is_found_among_others(jar: str) -> None:
    assert OURS.wrote(asking(jar.replace("a={}", "a=x").format(pair())), NOW)


def altered(jar: str) -> dict[str, str]:
    name, _, value = jar.partition("=")
    until, _, mac = value.partition(".")
    elsewhere = pair(Wrote(KEY, site="other", window=30.0))
    return {
        "no-value": name,
        "empty": f"{name}=",
        "another-mac": f"{name}={until}.{'0' * 32}",
        "longer": f"{name}={int(until) + 1}.{mac}",
        "cut": jar[:-1],
        "more": f"{jar}0",
        "capitals": f"{name}={until}.{mac.upper()}X",
        "sign": f"{name}=+{until}.{mac}",
        "zero": f"{name}=0{until}.{mac}",
        "digits": f"{name}=١.{mac}",
        "huge": f"{name}={'9' * 400}.{mac}",
        "another-name": f"x{jar}",
        "without-site": f"pagegen_wrote={value}",
        "another-site": elsewhere,
        "another-site's-value": f"{name}={elsewhere.partition('=')[2]}",
        "another-key": pair(Wrote("the key of somebody else", site="shop", window=30.0)),
        "expired": pair(now=NOW - 91),
        "absurd": pair(now=NOW + MAX_AHEAD + 1),
    }


@pytest.mark.parametrize("case", altered(pair()))
def test_what_is_forged_or_over_makes_nobody_a_writer(case: str) -> None:
    assert not OURS.wrote(asking(altered(pair())[case]), NOW)


def test_one_that_is_good_is_enough_whatever_stands_beside_it() -> None:
    """A neighbour in the domain may plant another one, and must not show a writer old pages."""
    for jar in (f"{altered(pair())['another-mac']}; {pair()}", f"{pair()}; {pair()}x"):
        assert OURS.wrote(asking(jar), NOW)


def test_clocks_of_two_machines_may_differ_by_a_minute() -> None:
    assert OURS.wrote(asking(pair(now=NOW + 60)), NOW)
    assert OURS.wrote(asking(pair(now=NOW - 59)), NOW + 30)


def test_a_field_that_is_too_long_to_be_read_may_hold_it() -> None:
    assert OURS.wrote(asking(f"a={'x' * MAX_COOKIES}; {pair()}"), NOW)


@pytest.mark.parametrize(("secret", "window"), [("", 30.0), (KEY, 0.0)], ids=["key", "window"])
def test_without_key_or_window_nobody_is_a_writer(secret: str, window: float) -> None:
    nobody = Wrote(secret, site="shop", window=window)
    assert not nobody.possible
    assert not nobody.wrote(asking(pair(nobody)), NOW)
    assert not nobody.wrote(asking("a" * MAX_COOKIES * 2), NOW)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_no_field_raises(jar: str) -> None:
    assert not OURS.wrote(asking(jar), NOW)
    assert not OURS.wrote(asking(f"{pair().partition('=')[0]}={jar}"), NOW)
    others(jar)


def test_a_promise_lasts_when_it_outlives_the_old_page() -> None:
    _, until = OURS.cookie(NOW, secure=False)
    assert OURS.lasts(until, NOW + MARGIN)
    assert not OURS.lasts(until, NOW + MARGIN + 1)
    assert not OURS.lasts(None, NOW)
    assert not OURS.lasts(0.0, NOW)


@pytest.mark.parametrize(
    ("jar", "expect"),
    [
        (None, None),
        ("", ""),
        ("a=b;  c=d", "a=b;  c=d"),
        ("{}", None),
        ("{};", None),
        ("__Host-{}; {}", None),
        ("a=b; {}", "a=b"),
        ("{}; a=b", "a=b"),
        ("a=b; {};c=d ", "a=b;c=d"),
        ("a=pagegen_wrote", "a=pagegen_wrote"),
        ("x{}", "x{}"),
        ("pagegen_wrote=1", "pagegen_wrote=1"),
    ],
)
def test_nobody_else_sees_it(jar: str | None, expect: str | None) -> None:
    ours = pair()
    given_ = jar.replace("{}", ours) if jar else jar
    wanted = expect.replace("{}", ours) if expect else expect
    assert others(given_) == wanted
