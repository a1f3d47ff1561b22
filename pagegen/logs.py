"""The log: every logger of pagegen is made here, and what it is given is made plain.

Rules of this file:

1. What comes from outside (a name, a path, the text of somebody's exception) may hold what ends a
   line, moves a terminal's cursor or turns text around: CR, LF, ESC, NUL, C1, U+2028, U+202E. None
   of it leaves as it came. A filter sees to it, so that no call can forget it.
2. Errors of others are told by their kind and the first line of their text, in tracebacks too:
   libraries of databases put statements and their values behind it.
3. The record keeps its template, its arguments and its exception, which handlers may group by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from traceback import format_tb
from typing import Final

#: Characters of one text from outside; syslog receivers should take 2,048 octets (RFC 5424 §6.1).
MAX_SAID: Final = 2048
#: Characters of what an error of somebody else's says.
MAX_CAUSE: Final = 300
#: Exceptions of a chain, and of a group, that are told.
MAX_CHAIN: Final = 16

_PLAIN: Final = (int, float, bool, type(None))


def logger(name: str) -> logging.Logger:
    """The logger of this name, whose lines hold nothing but what can be printed."""
    found = logging.getLogger(name)
    found.addFilter(_make_plain)  # the same one again is not added
    return found


def escaped(text: str, most: int = MAX_SAID) -> str:
    """A text in which all that is not printable is escaped as in Python, cut behind ``most``
    characters.
    """
    if len(text) > most:
        text = f"{text[:most]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def cause(error: BaseException) -> str:
    """What an error of somebody else's says: its kind, and the first line of its text."""
    return _first(f"{type(error).__name__}: {_text(error).strip()}")


def kind(error: BaseException) -> str:
    """What kind of error, and where it was raised: its text may hold what it was about."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return type(error).__name__
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return escaped(f"{type(error).__name__} at {place}")


def _first(text: str) -> str:
    return escaped(text.partition("\n")[0], MAX_CAUSE)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # whatever it is, a line of the log is no reason to fail
        return f"<{type(value).__name__} that cannot be shown>"


class _Said:
    """An argument of a line of the log, for ``%s`` and for ``%r``."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return escaped(_text(self._value))

    def __repr__(self) -> str:
        try:
            return escaped(repr(self._value))
        except Exception:
            return str(self)


def _make_plain(record: logging.LogRecord) -> bool:
    """The filter of all our loggers."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_argument, record.args))
    elif record.args:
        record.msg, record.args = record.getMessage(), ()
    record.msg = escaped(_text(record.msg), 2 * MAX_SAID)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not all(map(_is_plain, _words(error))):
        # Formatters take it where it is there; the exception stays for others.
        record.exc_text = "".join(_traced(error)).rstrip("\n")
    return True


def _argument(value: object) -> object:
    if type(value) is str:
        return value if _is_plain(value) else escaped(value)
    return value if isinstance(value, _PLAIN) else _Said(value)


def _is_plain(text: str) -> bool:
    return len(text) <= MAX_SAID and text.isprintable()


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what it came from, the first one first."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and len(found) < MAX_CHAIN and not any(each is it for it in found):
        found.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return found[::-1]


def _words(error: BaseException) -> Iterator[str]:
    """All that exceptions say, which may come from outside."""
    for each in _chain(error):
        yield from _lines(each)


def _lines(error: BaseException) -> Iterator[str]:
    yield f"{type(error).__name__}: {_text(error)}"
    yield from map(_text, getattr(error, "__notes__", ()))
    for member in getattr(error, "exceptions", ())[:MAX_CHAIN]:
        yield f"{type(member).__name__}: {_text(member)}"


def _traced(error: BaseException) -> Iterator[str]:
    """A traceback in which of what exceptions say there is one line each."""
    for number, each in enumerate(_chain(error)):
        if number:
            yield "\nThen, because of it or while it was handled:\n\n"
        yield "Traceback (most recent call last):\n"
        yield from format_tb(each.__traceback__)
        yield from (f"{_first(line)}\n" for line in _lines(each))
