"""Who is asking: declared sources of an identity. Asking them is the engine's work.

A source is written ``scope:user.id``, ``environ:REMOTE_USER``, ``cookie:session``,
``header:x-user`` or ``call:package.module:function``. The first one that answers wins; an empty
answer is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .errors import ConfigError
from .fields import TOKEN

Kind = Literal["scope", "environ", "cookie", "header", "call"]

_CALL: Final = re.compile(r"[\w.]+:[\w.]+")
_DOTTED: Final = re.compile(r"[^.\s]+(?:\.[^.\s]+)*")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Keys of scope and environ that are the request itself: what a page depends on there is keyed as
#: path, query, header or cookie, and nothing else of it may be seen.
THE_REQUEST: Final = frozenset(
    (
        "headers", "query_string", "path", "raw_path", "root_path", "method", "type", "scheme",
        "extensions", "QUERY_STRING", "PATH_INFO", "SCRIPT_NAME", "REQUEST_METHOD", "REQUEST_URI",
        "RAW_URI", "CONTENT_TYPE", "CONTENT_LENGTH", "wsgi.input",
    )
)  # fmt: skip

SOURCE_REMEDY: Final = (
    'Write "scope:user.id", "environ:REMOTE_USER", "cookie:session", "header:x-user" or '
    '"call:package.module:function"'
)


@dataclass(frozen=True, slots=True)
class Source:
    """One place where an identity may be found.

    ``target`` is the cookie, header (lower case), scope or environ key, or module of a call;
    ``path`` the dotted rest inside the object found there, or the function's name.
    """

    kind: Kind
    target: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "call":
            return f"call:{self.target}:{'.'.join(self.path)}"
        return f"{self.kind}:{'.'.join((self.target, *self.path))}"


def parse_source(text: object) -> Source:
    """Parse one source; raises ``ConfigError``."""
    kind, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind == "call" and _CALL.fullmatch(rest):
        module, _, function = rest.partition(":")
        return Source("call", module, tuple(function.split(".")))
    if kind == "cookie" and TOKEN.fullmatch(rest):
        return Source("cookie", rest)
    if kind == "header" and TOKEN.fullmatch(rest) and rest.lower() not in ("cookie", "host"):
        return Source("header", rest.lower())
    if kind == "environ" and _DOTTED.fullmatch(rest) and not names_the_request(rest):
        return _dotted("environ", rest)
    if kind == "scope" and _DOTTED.fullmatch(rest) and not names_the_request(rest):
        return _dotted("scope", rest)
    if kind == "call":
        raise ConfigError(
            f"{text!r} is no source of an identity",
            'Write module and function with a colon between them: "call:shop.auth:user_id"',
        )
    raise ConfigError(f"{text!r} is no source of an identity", SOURCE_REMEDY)


def names_the_request(key: str) -> bool:
    """Whether a scope or environ key (with its dotted path) is the request itself."""
    return key in THE_REQUEST or key.partition(".")[0] in THE_REQUEST or key.startswith("HTTP_")


def _dotted(kind: Literal["scope", "environ"], rest: str) -> Source:
    # WSGI keys such as "wsgi.url_scheme" hold dots themselves: the engine tries the longest first.
    target, *path = rest.split(".")
    return Source(kind, target, tuple(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A named answer to "who is asking?", for ``share`` and namespaces.

    ``anonymous``: what becomes of visitors for whom no source answers. ``"share"`` gives them one
    page together; but where a source found an object without an answer in it (a session without a
    user), they bypass, since that object may differ among them. ``"reveal"`` shares the page and
    shows the handler those objects, which must then be alike for all of them. ``"bypass"`` sends
    them all to the application. ``reveal`` lists what the handler may see besides the source that
    answered (sources again): needed with ``call:``, whose function reads things that pagegen
    cannot know. Everything revealed must be determined by the identity.
    """

    name: str
    sources: tuple[Source, ...]
    anonymous: Literal["share", "reveal", "bypass"] = "share"
    reveal: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} is no name of an identity", "Use letters, digits and underscores"
            )
        object.__setattr__(self, "sources", _sources(self.sources, "from"))
        object.__setattr__(self, "reveal", _sources(self.reveal, "reveal"))
        if not self.sources:
            raise ConfigError("an identity without a source", SOURCE_REMEDY, field="from")
        if self.anonymous not in ("share", "reveal", "bypass"):
            raise ConfigError(
                f"{self.anonymous!r} is no way to treat anonymous visitors",
                'Choose "share", "reveal" or "bypass"',
                field="anonymous",
            )
        if any(source.kind == "call" for source in self.reveal):
            raise ConfigError(
                "a function cannot be revealed",
                "Name the cookie, header, scope or environ key that the handler needs",
                field="reveal",
            )


def _sources(given: object, field: str) -> tuple[Source, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(
            f"{given!r} is no list of sources", 'Write a list such as ["cookie:session"]', field
        )
    try:
        return tuple(s if isinstance(s, Source) else parse_source(s) for s in given)
    except ConfigError as error:
        raise error.inside(field) from None
