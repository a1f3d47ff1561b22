"""memcached's text protocol without any I/O: questions as bytes, and a strict reader of answers.

memcached, ``doc/protocol.txt``. Rules of this file:

1. An answer belongs to the question that was asked first and is not answered yet.
2. Whatever a question does not expect is rubbish: another key, a wrong length, an unknown line,
   bytes that nobody asked for. What follows it cannot be trusted either: close the connection.
3. ``SERVER_ERROR`` is an answer: the server is well and did not do it. ``ERROR`` and
   ``CLIENT_ERROR`` are rubbish: the server did not understand what we sent, so nobody knows which
   of the next lines belongs to what.
4. The same bytes give the same answers however they were cut on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

#: Bytes of a line; over it the answer is rubbish. Settings may hold a path (Linux: 4096 bytes).
MAX_LINE: Final = 8192
#: Bytes of values in one answer; over it, it is rubbish (memcached's own item limit: 1 MiB, at most
#: 1 GiB by ``-I``).
MAX_REPLY: Final = 64 * 2**20
#: Lines of ``stats settings``; over it, it is rubbish (memcached 1.6: about 100).
MAX_SETTINGS: Final = 1000
#: Digits of a length, and of any other number (64 bits).
_SIZE_DIGITS: Final = 10
_DIGITS: Final = 20

#: What a line says of the answer: it is whole; another line follows. A number from 0 up: a value
#: of so many bytes follows.
DONE: Final = -1
MORE: Final = -2

_CRLF: Final = b"\r\n"
_REFUSAL: Final = b"SERVER_ERROR"


class Rubbish(Exception):  # noqa: N818 - it is what the server said
    """Bytes that are no answer to what was asked. The connection is of no use any more."""


class Question:
    """What is sent, and how its answer is read line by line.

    ``request`` are the bytes to send. ``refusal`` is the server's ``SERVER_ERROR`` line, empty when
    it did not say that. ``size`` counts the bytes of values in the answer.
    """

    __slots__ = ("refusal", "request", "size")

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.refusal = b""
        self.size = 0

    def take_line(self, line: bytes) -> int:
        """Read a line without its end; ``DONE``, ``MORE`` or a length. Raises ``Rubbish``."""
        raise NotImplementedError

    def take_value(self, value: bytes) -> None:
        """Read the value that the last line announced."""
        raise NotImplementedError


class Get(Question):
    """The values of some keys, with ``unique`` their numbers for ``cas`` too."""

    __slots__ = ("_key", "_parts", "_wanted", "numbers", "values")

    def __init__(self, keys: Iterable[bytes], *, unique: bool = False) -> None:
        wanted = dict.fromkeys(keys)
        super().__init__(b"%b %b\r\n" % (b"gets" if unique else b"get", _checked(wanted)))
        self._wanted = wanted
        self._parts = 5 if unique else 4
        self._key = b""
        self.values: dict[bytes, bytes] = {}
        self.numbers: dict[bytes, int] = {}

    def take_line(self, line: bytes) -> int:
        """``VALUE key flags length [unique]`` or ``END``."""
        if line == b"END":
            return DONE
        parts = line.split(b" ")
        if parts[0] == b"VALUE" and len(parts) == self._parts:
            return self._announced(*parts[1:])
        if parts[0] == _REFUSAL and not self.values:
            self.refusal = line
            return DONE
        raise _unexpected(line)

    def _announced(self, key: bytes, flags: bytes, length: bytes, number: bytes = b"0") -> int:
        if key not in self._wanted or key in self.values:
            raise Rubbish("a value that was not asked for")
        if not (flags.isdigit() and number.isdigit() and len(number) <= _DIGITS >= len(flags)):
            raise Rubbish("a number that is none")
        if not (length.isdigit() and len(length) <= _SIZE_DIGITS):
            raise Rubbish("a length that is none")
        size = int(length)
        self.size += size
        if self.size > MAX_REPLY:
            raise Rubbish(f"an answer of {self.size} bytes")
        self._key = key
        if self._parts == 5:
            self.numbers[key] = int(number)
        return size

    def take_value(self, value: bytes) -> None:
        """The value of the key in the last line."""
        self.values[self._key] = value


class Change(Question):
    """Commands that are answered with one word each.

    ``words`` are the words that may come, and whether they say that it was done. ``done`` holds the
    keys of which that was said.
    """

    __slots__ = ("_left", "_words", "done")

    def __init__(self, request: bytes, keys: Iterable[bytes], words: Mapping[bytes, bool]) -> None:
        super().__init__(request)
        self._words = words
        self._left = deque(keys)
        self.done: list[bytes] = []

    def take_line(self, line: bytes) -> int:
        """One word for the next key."""
        said = self._words.get(line)
        if said is None:
            if not line.startswith(_REFUSAL):
                raise _unexpected(line)
            self.refusal = line
        key = self._left.popleft()
        if said:
            self.done.append(key)
        return MORE if self._left else DONE


class Settings(Question):
    """``stats settings``: ``STAT name value`` lines and ``END``, in ``found``."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        super().__init__(b"stats settings\r\n")
        self.found: dict[str, str] = {}

    def take_line(self, line: bytes) -> int:
        """One setting, or the end of them."""
        if line == b"END":
            return DONE
        word, _, rest = line.partition(b" ")
        if word == _REFUSAL and not self.found:
            self.refusal = line
            return DONE
        if word != b"STAT" or len(self.found) >= MAX_SETTINGS:
            raise _unexpected(line)
        name, _, value = rest.decode("latin-1").partition(" ")
        self.found[name] = value
        return MORE


_SET: Final = {b"STORED": True, b"NOT_STORED": False}
_CAS: Final = {b"STORED": True, b"EXISTS": False, b"NOT_FOUND": False, b"NOT_STORED": False}
_DELETE: Final = {b"DELETED": True, b"NOT_FOUND": True}


def storing(verb: bytes, items: Mapping[bytes, bytes], ttl: int) -> Change:
    """``set`` or ``add`` of these items; ``ttl`` as the protocol has it."""
    _checked(items)
    parts: list[bytes] = []
    for key, value in items.items():
        parts += (b"%b %b 0 %d %d\r\n" % (verb, key, ttl, len(value)), value, _CRLF)
    return Change(b"".join(parts), items, _SET)


def swapping(key: bytes, value: bytes, unique: int, ttl: int) -> Change:
    """``cas``: only over the value that has this number."""
    line = b"cas %b 0 %d %d %d\r\n" % (_checked((key,)), ttl, len(value), unique)
    return Change(b"".join((line, value, _CRLF)), (key,), _CAS)


def deleting(keys: Iterable[bytes]) -> Change:
    """``delete`` of these keys; one that is not there counts as deleted."""
    wanted = dict.fromkeys(keys)
    _checked(wanted)
    return Change(b"".join([b"delete %b\r\n" % key for key in wanted]), wanted, _DELETE)


def _checked(keys: Iterable[bytes]) -> bytes:
    """The keys with a space between; ``ValueError`` when they would read as something else."""
    names = list(keys)
    line = b" ".join(names)
    if not names or line.split() != names:
        raise ValueError("a key is empty or has a space in it, or there is none")
    return line


def _unexpected(line: bytes) -> Rubbish:
    return Rubbish(f"an answer that was not expected: {line[:60]!r}")


class Replies:
    """Reads what comes from one server. Each byte is looked at once, each value copied once."""

    def __init__(self) -> None:
        self._asked: deque[Question] = deque()
        self._rest = b""
        # A value that is on its way: what has come of it, and how much has not.
        self._pieces: list[bytes | memoryview] = []
        self._missing = 0
        self._line_end = False

    def expect(self, question: Question) -> None:
        """This question has been sent, after all those before."""
        self._asked.append(question)

    def feed(self, data: bytes) -> int:
        """Read what came; how many questions are answered now. Raises ``Rubbish``."""
        if self._missing:
            if len(data) < self._missing:
                self._pieces.append(data)
                self._missing -= len(data)
                return 0
            at = self._complete(data)
        else:
            at = 0
            if self._rest:
                data = self._rest + data
                self._rest = b""
        answered = 0
        while at < len(data):
            if not self._asked:
                raise Rubbish("an answer to no question")
            if self._line_end:
                at = self._after_value(data, at)
                continue
            end = data.find(_CRLF, at, at + MAX_LINE)
            if end < 0:
                self._keep(data, at)
                break
            size = self._asked[0].take_line(data[at:end])
            at = end + 2
            if size == DONE:
                self._asked.popleft()
                answered += 1
            elif size >= 0:
                at = self._value(data, at, size)
        return answered

    def _value(self, data: bytes, at: int, size: int) -> int:
        end = at + size
        if end <= len(data):
            self._asked[0].take_value(data[at:end])
            self._line_end = True
            return self._after_value(data, end) if end + 2 <= len(data) else end
        self._pieces.append(memoryview(data)[at:])
        self._missing = end - len(data)
        return len(data)

    def _complete(self, data: bytes) -> int:
        at = self._missing
        self._pieces.append(memoryview(data)[:at])
        self._asked[0].take_value(b"".join(self._pieces))
        self._pieces = []
        self._missing = 0
        self._line_end = True
        return at

    def _after_value(self, data: bytes, at: int) -> int:
        """A value is followed by a line's end, or its length was a lie."""
        found = data[at : at + 2]
        if found != _CRLF:
            if len(found) == 2 or found != b"\r":
                raise Rubbish("a value that is longer than it said")
            self._rest = found
            return len(data)
        self._line_end = False
        return at + 2

    def _keep(self, data: bytes, at: int) -> None:
        if len(data) - at >= MAX_LINE:
            raise Rubbish("a line that does not end")
        self._rest = data[at:]
