"""What is fuzzed: functions of bytes that raise where a promise does not hold, by name.

A target gets any bytes and makes of them what it tests: most read them as Latin-1, lines apart
where they need several values, so that a file of the corpus can be read and written by people.
Whatever leaves a target as an exception is a find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

#: Bytes of an input unless a target says otherwise: what is longer is cut.
LENGTH: Final = 512
CORPUS: Final = Path(__file__).resolve().parent.parent / "corpus"
_MODULES: Final = ("fields", "laws", "keys", "plans", "stores", "places", "files", "fronts")
_FOUND: Final[dict[str, Target]] = {}


class Broken(AssertionError):  # noqa: N818 - it is what became of a promise
    """A promise that does not hold, with what it was about."""


@dataclass(frozen=True, slots=True)
class Target:
    """One function of bytes. ``words``: what its inputs are often made of. ``length`` in bytes."""

    name: str
    run: Callable[[bytes], None]
    words: tuple[str, ...]
    length: int

    def __call__(self, data: bytes) -> None:
        """Try these bytes; raises whatever is wrong."""
        self.run(data[: self.length])

    @property
    def corpus(self) -> Path:
        """The folder of its inputs that are kept."""
        return CORPUS / self.name


def target(
    *words: str, length: int = LENGTH
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Make a target of a function: its name, with dashes."""

    def register(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
        name = function.__name__.replace("_", "-")
        _FOUND[name] = Target(name, function, words, length)
        return function

    return register


def all_targets() -> Mapping[str, Target]:
    """All targets, sorted by name."""
    for module in _MODULES:
        import_module(f"tests.security.fuzz.of_{module}")
    return dict(sorted(_FOUND.items()))


def target_named(name: str) -> Target:
    """One target, without importing more than is needed; raises ``KeyError``."""
    for module in _MODULES:
        import_module(f"tests.security.fuzz.of_{module}")
        if name in _FOUND:
            return _FOUND[name]
    raise KeyError(name)


def holds(true: bool, what: str, *about: object) -> None:
    """Raise ``Broken`` unless it is true."""
    if not true:
        raise Broken(f"{what}: {', '.join(map(repr, about))}")


def text(data: bytes) -> str:
    """Bytes as header fields have them."""
    return data.decode("latin-1")


def lines(data: bytes, count: int) -> list[str]:
    """The first ``count`` lines, the last one with all the rest; "" for those missing."""
    found = text(data).split("\n", count - 1)
    return found + [""] * (count - len(found))


class Reader:
    """Takes an input apart, one value after the other; behind its end all are 0 and empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end."""
        found = self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def number(self, below: int) -> int:
        """A number from 0 up, of the next one or two bytes."""
        size = 1 if below <= 256 else 2
        return int.from_bytes(self.take(size), "little") % below

    def some(self, most: int = 24) -> bytes:
        """So many bytes as the next one says."""
        return self.take(self.number(most))
