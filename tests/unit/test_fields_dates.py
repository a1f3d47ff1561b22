"""HTTP-dates: three forms, the slips that have one meaning, and all that is no date."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.fields import MAX_DATE, http_date

MOMENT = 784111777.0  # the example of RFC 9110 §5.6.7


class Rule(NamedTuple):
    """A sentence of an RFC in our words, a text, and the seconds it stands for."""

    id: str
    rfc: str
    says: str
    given: str | None
    expect: float | None = MOMENT


def _check(rule: Rule) -> None:
    assert http_date(rule.given) == rule.expect, rule.says


FORMS = [
    Rule("imf", "9110 §5.6.7", "the form of today", "Sun, 06 Nov 1994 08:49:37 GMT"),
    Rule("rfc850", "9110 §5.6.7", "that of RFC 850 (MUST)", "Sunday, 06-Nov-94 08:49:37 GMT"),
    Rule("asctime", "9110 §5.6.7", "that of C (MUST)", "Sun Nov  6 08:49:37 1994"),
    Rule("asctime-two", "9110 §5.6.7", "with both digits", "Tue Nov 15 08:49:37 1994",
         MOMENT + 9 * 86_400),
    Rule("epoch", "9110 §5.6.7", "nought is a date", "Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    Rule("before", "9110 §5.6.7", "as is what was before", "Wed, 31 Dec 1969 23:59:59 GMT", -1.0),
    Rule("leap-day", "9110 §5.6.7", "29 February", "Thu, 29 Feb 2024 00:00:00 GMT", 1709164800.0),
    Rule("last", "9110 §5.6.7", "the last of four digits", "Fri, 31 Dec 9999 23:59:59 GMT",
         253402300799.0),
    Rule("850-1970", "9110 §5.6.7", "70 would be far ahead: the past (MUST)",
         "Thursday, 01-Jan-70 00:00:00 GMT", 0.0),
    Rule("850-1999", "9110 §5.6.7", "99 too (MUST)", "Friday, 31-Dec-99 23:59:59 GMT",
         946684799.0),
    Rule("850-2000", "9110 §5.6.7", "00 is of this century", "Saturday, 01-Jan-00 00:00:00 GMT",
         946684800.0),
    Rule("850-2069", "9110 §5.6.7", "69 too", "Tuesday, 31-Dec-69 23:59:59 GMT", 3155759999.0),
    Rule("leap-second", "9110 §5.6.7, 9111 §4.2", "60 is one, and no later than it (MUST)",
         "Sat, 31 Dec 2016 23:59:60 GMT", 1483228799.0),
]  # fmt: skip


@pytest.mark.parametrize("rule", FORMS, ids=lambda row: row.id)
def test_a_date_is_read_in_each_of_its_three_forms(rule: Rule) -> None:
    _check(rule)


SLIPS = [
    Rule("lower", "9111 §4.2", "no case (SHOULD)", "sun, 06 nov 1994 08:49:37 gmt"),
    Rule("upper", "9111 §4.2", "no case (SHOULD)", "SUNDAY, 06-NOV-94 08:49:37 GMT"),
    Rule("asctime-lower", "9111 §4.2", "no case (SHOULD)", "sun nov  6 08:49:37 1994"),
    Rule("digit-day", "5322 §3.3", "one digit for the day", "Sun, 6 Nov 1994 08:49:37 GMT"),
    Rule("digit-hour", "wild", "one digit for the hour", "Sun, 06 Nov 1994 8:49:37 GMT"),
    Rule("digit-850", "wild", "with dashes too", "Sunday, 6-Nov-94 8:49:37 GMT"),
    Rule("asctime-digit", "wild", "and in C's", "Sun Nov 6 8:49:37 1994"),
    Rule("asctime-zero", "wild", "a nought for a space", "Sun Nov 06 08:49:37 1994"),
    Rule("spaces", "5322 §3.2.2", "several spaces", "Sun,  06  Nov 1994\t08:49:37   GMT"),
    Rule("outer", "9110 §5.5", "spaces around it", "\t Sun, 06 Nov 1994 08:49:37 GMT  "),
    Rule("comma-space", "5322 §3.3", "no space behind the comma", "Sun,06 Nov 1994 08:49:37 GMT"),
    Rule("no-comma", "wild", "no comma", "Sun 06 Nov 1994 08:49:37 GMT"),
    Rule("no-weekday", "5322 §3.3", "no weekday", "06 Nov 1994 08:49:37 GMT"),
    Rule("wrong-weekday", "wild", "the wrong weekday", "Mon, 06 Nov 1994 08:49:37 GMT"),
    Rule("long-weekday", "wild", "a long weekday", "Sunday, 06 Nov 1994 08:49:37 GMT"),
    Rule("short-850", "wild", "a short one with dashes", "Sun, 06-Nov-94 08:49:37 GMT"),
    Rule("long-year", "wild", "dashes and four digits", "Sun, 06-Nov-1994 08:49:37 GMT"),
    Rule("zero-zone", "5322 §3.3", "GMT as a number", "Sun, 06 Nov 1994 08:49:37 +0000"),
    Rule("minus-zero", "5322 §3.3", "or with a minus", "Sun, 06 Nov 1994 08:49:37 -0000"),
    Rule("east", "5322 §3.3", "zones with a number are sure", "Sun, 06 Nov 1994 09:49:37 +0100"),
    Rule("west", "5322 §3.3", "to the west too", "Sun, 06 Nov 1994 03:19:37 -0530"),
    Rule("asctime-gmt", "wild", "GMT behind C's", "Sun Nov  6 08:49:37 1994 GMT"),
]  # fmt: skip


@pytest.mark.parametrize("rule", SLIPS, ids=lambda row: row.id)
def test_a_slip_with_one_meaning_is_read(rule: Rule) -> None:
    _check(rule)


IMF = "Sun, 06 Nov 1994 08:49:37 GMT"
DOUBTS = [
    Rule("absent", "-", "no field", None),
    Rule("empty", "-", "no text", " "),
    Rule("zero", "9111 §5.3", "0 is a date in the past, not one of 1970 (MUST)", "0"),
    Rule("minus", "9111 §5.3", "so is -1", "-1"),
    Rule("number", "9111 §5.3", "and any number", "784111777"),
    Rule("two", "9110 §5.3", "two dates are none", f"{IMF}, {IMF}"),
    Rule("two-asctime", "9110 §5.3", "in C's form neither", "Sun Nov  6 08:49:37 1994, " * 2),
    Rule("before", "-", "text before", f"x {IMF}"),
    Rule("behind", "-", "text behind", f"{IMF} x"),
    Rule("quoted", "-", "quotes", f'"{IMF}"'),
    Rule("parameter", "-", "a parameter", f"{IMF}; length=5"),
    Rule("comment", "5322 §3.2.2", "comments of mail are for people", f"{IMF} (noon)"),
    Rule("line", "-", "a line's end", f"{IMF}\n"),
    Rule("utc", "9111 §4.2", "no zone's name but GMT (SHOULD)", "Sun, 06 Nov 1994 08:49:37 UTC"),
    Rule("ut", "9111 §4.2", "no zone's name but GMT (SHOULD)", "Sun, 06 Nov 1994 08:49:37 UT"),
    Rule("z", "9111 §4.2", "no zone's name but GMT (SHOULD)", "Sun, 06 Nov 1994 08:49:37 Z"),
    Rule("est", "9111 §4.2", "no zone's name but GMT (SHOULD)", "Sun, 06 Nov 1994 03:49:37 EST"),
    Rule("cest", "9111 §4.2", "no zone's name but GMT (SHOULD)", "Sun Nov  6 08:49:37 1994 CEST"),
    Rule("gmt-plus", "-", "a name and a number", "Sun, 06 Nov 1994 09:49:37 GMT+0100"),
    Rule("no-zone", "5322 §3.3", "no zone is a local time (MUST NOT)", "Sun, 06 Nov 1994 08:49:37"),
    Rule("850-no-zone", "9111 §4.2", "with dashes too (MUST NOT)", "Sunday, 06-Nov-94 08:49:37"),
    Rule("bad-zone", "5322 §3.3", "sixty minutes are an hour", "Sun, 06 Nov 1994 08:49:37 +0060"),
    Rule("far-zone", "-", "no clock is a day ahead", "Sun, 06 Nov 1994 08:49:37 +2400"),
    Rule("short-zone", "5322 §3.3", "four digits", "Sun, 06 Nov 1994 08:49:37 +01"),
    Rule("colon-zone", "5322 §3.3", "and no colon", "Sun, 06 Nov 1994 08:49:37 +01:00"),
    Rule("iso", "-", "another standard", "1994-11-06T08:49:37Z"),
    Rule("two-digits", "-", "the rule for them is for dashes only", "Sun, 06 Nov 94 08:49:37 GMT"),
    Rule("three-digits", "-", "nor three", "Sun, 06-Nov-094 08:49:37 GMT"),
    Rule("five-digits", "-", "nor five", "Sun, 06 Nov 01994 08:49:37 GMT"),
    Rule("mixed", "-", "one dash", "Sun, 06-Nov 1994 08:49:37 GMT"),
    Rule("february", "-", "no such day", "Sun, 31 Feb 2021 08:49:37 GMT"),
    Rule("leap-year", "-", "no such day in that year", "Wed, 29 Feb 2023 08:49:37 GMT"),
    Rule("day-0", "-", "no such day", "Sun, 00 Nov 1994 08:49:37 GMT"),
    Rule("day-32", "-", "no such day", "Sun, 32 Dec 1994 08:49:37 GMT"),
    Rule("year-0", "-", "no such year", "Sun, 06 Nov 0000 08:49:37 GMT"),
    Rule("hour", "-", "no such hour", "Sun, 06 Nov 1994 25:49:37 GMT"),
    Rule("midnight", "-", "not even at midnight", "Sun, 06 Nov 1994 24:00:00 GMT"),
    Rule("minute", "-", "no such minute", "Sun, 06 Nov 1994 08:60:37 GMT"),
    Rule("second", "-", "no such second", "Sun, 06 Nov 1994 08:49:61 GMT"),
    Rule("digit-minute", "-", "8:4 may be 8:40", "Sun, 06 Nov 1994 08:4:37 GMT"),
    Rule("no-seconds", "-", "no seconds", "Sun, 06 Nov 1994 08:49 GMT"),
    Rule("fraction", "-", "parts of one", "Sun, 06 Nov 1994 08:49:37.5 GMT"),
    Rule("month", "-", "no such month", "Sun, 06 Nor 1994 08:49:37 GMT"),
    Rule("long-month", "-", "a long month", "Sun, 06 November 1994 08:49:37 GMT"),
    Rule("other-day", "-", "a weekday of another language", "Dim, 06 Nov 1994 08:49:37 GMT"),
    Rule("signs", "-", "signs", "Sun, +6 Nov 1994 08:49:37 GMT"),
    Rule("wide", "-", "digits are ASCII", "Sun, 0\u0666 Nov 1994 08:49:37 GMT"),
    Rule("long-s", "-", "letters are ASCII", "\u017fun, 06 Nov 1994 08:49:37 GMT"),
    Rule("long-s-asctime", "-", "in C's form too", "\u017fun Nov  6 08:49:37 1994"),
    Rule("long", "-", "too long", "Sun," + " " * MAX_DATE + "06 Nov 1994 08:49:37 GMT"),
]  # fmt: skip


@pytest.mark.parametrize("rule", DOUBTS, ids=lambda row: row.id)
def test_what_may_mean_something_else_is_no_date(rule: Rule) -> None:
    _check(rule._replace(expect=None))


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT-5", "America/New_York"])
def test_our_own_time_zone_does_not_count(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # RFC 9111 §4.2: local zones must not take part (MUST NOT).
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for rule in FORMS:
            _check(rule)
    finally:
        monkeypatch.undo()
        time.tzset()
