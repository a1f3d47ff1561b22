"""The signed header that asks for ``Cache-Status``: made, checked, and nothing else let in."""

from __future__ import annotations

import hmac
import re
from hashlib import blake2b
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import debugging
from pagegen.debugging import DEBUG_FIELD, DEBUG_NAME, MAX_VALIDITY, Debugger
from pagegen.errors import ConfigError
from pagegen.stores.names import derive

SECRET: Final = "a secret of this site"
NOW: Final = 1_700_000_000.5


def debugger(secret: str = SECRET, now: float = NOW, site: str = "") -> Debugger:
    """A debugger whose clock stands still."""
    return Debugger(secret, lambda: now, site=site)


def test_a_value_holds_from_now_until_its_end() -> None:
    ours = debugger()
    value = ours.field(300)
    end = int(value.partition(".")[0])
    assert end == int(NOW + 300)
    assert ours.allows(value, NOW)
    assert ours.allows(value, end - 0.001)
    assert not ours.allows(value, end)
    assert not ours.allows(value, end + 1e6)


def test_it_holds_for_five_minutes_unless_told_otherwise() -> None:
    assert debugger().field() == debugger().field(300) == debugger().field("5m")


def test_it_holds_in_every_process_that_has_the_secret() -> None:
    assert Debugger(SECRET, lambda: 0.0).allows(debugger().field(), NOW)


def test_a_request_without_the_header_is_not_let_in() -> None:
    assert debugger().allows(None, NOW) is False


def test_its_form_is_as_documented() -> None:
    assert re.fullmatch(r"1700000300\.[0-9a-f]{32}", debugger().field())
    assert DEBUG_FIELD.lower() == DEBUG_NAME


@pytest.mark.parametrize("seconds", [1, 1.0, "1s", MAX_VALIDITY, "24h"])
def test_shortest_and_longest_are_good(seconds: float | str) -> None:
    ours = debugger()
    assert ours.allows(ours.field(seconds), NOW)


@pytest.mark.parametrize(
    "seconds",
    [0, 0.99, -1, MAX_VALIDITY + 1, "25h", float("nan"), float("inf"), 10**400, "soon", True, None],
)
def test_other_times_are_errors(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"is not|between"):
        debugger().field(seconds)


@pytest.mark.parametrize(
    "other",
    [
        debugger("another secret here"),
        debugger(site="staging"),
        debugger(SECRET + " "),
        debugger(""),
    ],
    ids=["secret", "site", "space", "none"],
)
def test_a_value_of_another_secret_or_site_is_none(other: Debugger) -> None:
    assert not other.allows(debugger().field(), NOW)


def test_the_key_serves_nothing_else() -> None:
    keys = {derive(SECRET, purpose) for purpose in (b"pagegen page", b"pagegen names")}
    assert not keys.intersection(debugger()._keys)


def test_the_site_cannot_be_written_into_the_end() -> None:
    # Both would be one text without the colon between them.
    mac = debugger(site="7").field().partition(".")[2]
    assert not debugger(site="").allows(f"17000003007.{mac}", 17_000_003_000)
    mac = debugger(site="").field().partition(".")[2]
    assert not debugger(site="0").allows(f"170000030.{mac}", 170_000_029)


def test_without_a_site_key_nothing_is_allowed_and_nothing_made() -> None:
    ours = debugger("")
    forged = blake2b(b"1700000300:", digest_size=16).hexdigest()
    for value in (None, "", ".", f"1700000300.{forged}", debugger().field()):
        assert ours.allows(value, NOW) is False
    with pytest.raises(ConfigError, match="site_key") as caught:
        ours.field()
    assert (caught.value.field, caught.value.where) == ("site_key", "[pagegen]")
    assert "secret" in caught.value.remedy


def test_a_longer_end_than_was_signed_is_refused() -> None:
    mac = debugger().field().partition(".")[2]
    assert not debugger().allows(f"1700000301.{mac}", NOW)
    assert not debugger().allows(f"1700000299.{mac}", NOW)


def test_every_digit_of_the_mac_counts() -> None:
    ours = debugger()
    value = ours.field()
    for position in range(value.index(".") + 1, len(value)):
        other = "0" if value[position] != "0" else "1"
        assert not ours.allows(value[:position] + other + value[position + 1 :], NOW)
    for length in range(len(value)):
        assert not ours.allows(value[:length], NOW)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda value: f" {value}",
        lambda value: f"{value} ",
        lambda value: f"{value}\n",
        lambda value: f"0{value}",
        lambda value: f"+{value}",
        lambda value: f'"{value}"',
        lambda value: f"{value}, {value}",
        lambda value: f"{value}0",
        lambda value: value.replace(".", ":"),
        lambda value: value.replace("1", "\u0661", 1),
        lambda value: value.replace("1", "\uff11", 1),
    ],
)
def test_another_spelling_of_a_good_value_is_none(change: Any) -> None:
    value = debugger().field()
    assert change(value) != value
    assert not debugger().allows(change(value), NOW)


def test_a_signed_end_in_another_spelling_is_none() -> None:
    ours = debugger()
    for end in ("01700000300", "1700000300 ", "+1700000300", "1_700_000_300"):
        assert not ours.allows(f"{end}.{ours._mac(end, ours._keys[0])}", NOW)


def test_a_clock_set_back_does_not_make_a_value_last() -> None:
    ours = debugger()
    value = ours.field(MAX_VALIDITY)
    assert ours.allows(value, NOW)
    assert not ours.allows(value, NOW - 10)
    end = "9" * 12
    assert not ours.allows(f"{end}.{ours._mac(end, ours._keys[0])}", NOW)


def test_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = hmac.compare_digest

    def compare(a: str, b: str) -> bool:
        asked.append((a, b))
        return whole(a, b)

    monkeypatch.setattr(debugging, "compare_digest", compare)
    ours = debugger()
    value = ours.field()
    wrong = f"{value[:-1]}{'0' if value[-1] != '0' else '1'}"
    assert (ours.allows(value, NOW), ours.allows(wrong, NOW)) == (True, False)
    assert [b for _, b in asked] == [value[-32:], wrong[-32:]]
    assert {a for a, _ in asked} == {value[-32:]}


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(debugger()) + repr(vars(debugger()))


NEAR: Final = st.from_regex(r"[0-9]{0,13}\.?[0-9a-f]{0,34}", fullmatch=True)


@given(st.text() | NEAR | NEAR.map(lambda text: text * 1000))
def test_no_text_raises_or_is_let_in(value: str) -> None:
    assert debugger().allows(value, NOW) is False
    assert debugger("").allows(value, NOW) is False


@given(
    st.floats(1, MAX_VALIDITY),
    st.floats(0, 4e9),
    st.floats(-2 * MAX_VALIDITY, 2 * MAX_VALIDITY),
    st.text(max_size=8),
)
def test_a_value_holds_exactly_from_its_making_to_its_end(
    seconds: float, made: float, later: float, site: str
) -> None:
    ours = debugger(now=made, site=site)
    value = ours.field(seconds)
    end = int(value.partition(".")[0])
    assert made + seconds - 1 < end <= made + seconds
    assert ours.allows(value, made + later) is (end - MAX_VALIDITY <= made + later < end)
