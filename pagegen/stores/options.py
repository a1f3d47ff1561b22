"""Reading the URL of a store: ``SCHEME://PLACE?option=value&…``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigError
from ..units import parse_duration, parse_size

T = TypeVar("T")

#: Readers for which a bare number is one, of seconds or bytes, as in the file.
_WITH_UNITS: Final = (parse_duration, parse_size)
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def shown(url: str) -> str:
    """A URL as people may see it: without whatever may name a user or a password."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return re.sub(r"(?s)[^A-Za-z0-9+].*", "…", url)
    hidden, _, place = rest.rpartition("@")
    place = re.sub(
        r"(?i)([?&][^=&]*(?:pass|pwd|secret|token|key|auth|user)[^=&]*=)[^&]*", r"\1…", place
    )
    return f"{scheme}://{'…@' if hidden else ''}{place}"


class Options:
    """A store's URL in parts. ``place`` is what stands between ``://`` and ``?``, unescaped.

    Take every option the store knows, then call :meth:`finish`; both raise ``ConfigError`` (field
    ``store``).
    """

    def __init__(self, url: str) -> None:
        self.scheme, _, rest = url.partition("://")
        place, _, query = rest.partition("?")
        self.place = unquote(place)
        self._url = shown(url)
        self._known: list[str] = []
        pairs = parse_qsl(query, keep_blank_values=True)
        self._given = dict(pairs)
        if len(self._given) != len(pairs):
            raise self.error("names an option twice", "Give each option once")

    def take(self, name: str, read: Callable[[str], T], default: T, remedy: str) -> T:
        """The value of an option. ``read`` raises ``ValueError`` for what it cannot read."""
        self._known.append(name)
        given = self._given.get(name)
        if given is None:
            return default
        value: Any = given
        if read in _WITH_UNITS and _NUMBER.fullmatch(given):
            value = float(given) if "." in given else int(given)
        try:
            return read(value)
        except ValueError as error:
            raise self.error(f"has an option {name} that cannot be: {error}", remedy) from None

    def choose(self, name: str, *choices: str) -> str:
        """The value of an option that is one of a few words; the first is the default."""

        def one_of_them(text: str) -> str:
            if text not in choices:
                raise ValueError(f"{text!r} is none of them")
            return text

        return self.take(name, one_of_them, choices[0], f"Write one of {', '.join(choices)}")

    def finish(self) -> None:
        """Refuse options that nobody took."""
        unknown = sorted(self._given.keys() - set(self._known))
        if unknown:
            known = ", ".join(self._known) or "none"
            raise self.error(
                f"has an option {unknown[0]} that this store does not know",
                f"Its options are: {known}",
            )

    def error(self, problem: str, remedy: str) -> ConfigError:
        """A mistake in this URL."""
        return ConfigError(f"{self._url!r} {problem}", remedy, field="store")
