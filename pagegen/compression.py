"""Coding the body of a page, once, when it is admitted (RFC 9110 §8.4.1).

Nothing is coded unless a rule lists codings, because coding can give secrets away: where a page
holds a secret (a CSRF token, a key, what only this visitor may know) beside text that its URL
chose, the length of the coded page tells how alike the two are (BREACH). Pages with
``share = "public"`` hold no secret of a visitor, and are what this is for.

gzip is the standard library's; the coders of ``br`` (RFC 7932) and ``zstd`` (RFC 8878, RFC 9659)
come with an extra and are imported when a rule asks for them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Final

from .errors import ConfigError
from .messages import Codings
from .rules import CODINGS

#: Bytes of a body up to which it is coded: a rule's max_body by default. All three codings of one
#: this long took 17 ms, of 100 kB 2 ms and of 10 kB 0.3 ms (one core, tables of a catalogue).
MAX_CODED: Final = 2**20

#: The part of its length by which a coded body must be shorter to be kept: it takes memory for as
#: long as its page, and its fields as much again as the page's own.
MIN_SAVING: Final = 0.10

# Levels before those at which each coder takes several times as long for a few bytes less, with
# pages of 10 to 100 kB. gzip: zlib's own default (nginx: 1). br: ngx_brotli 6. zstd: the time that
# gzip takes (its own default and Caddy's: 3); its window stays far below RFC 9659's 8 MB.
GZIP_LEVEL: Final = 6
BR_LEVEL: Final = 5
ZSTD_LEVEL: Final = 7

#: zlib's way of asking for its largest window in gzip's format (RFC 1952), without name or time.
_GZIP_FORMAT: Final = 31

Coder = Callable[[bytes], bytes]


def check(codings: Sequence[str]) -> tuple[str, ...]:
    """The codings that a rule lists, in its order, which is the order of preference.

    Raises ``ConfigError`` (field ``compress``) for a name that is not offered, one that comes
    twice, and a coding whose coder is not installed.
    """
    for place, coding in enumerate(codings):
        if coding not in CODINGS or coding in codings[:place]:
            raise ConfigError(
                f"{coding!r} is no coding that pages are kept in, or is there twice",
                f"Choose each once among {', '.join(CODINGS)}",
                field="compress",
            )
        try:
            _coder(coding)
        except ImportError as error:
            raise ConfigError(
                f"{coding!r} needs a library that is not installed ({error})",
                "Run: pip install 'pagegen-middleware[compression]'",
                field="compress",
            ) from error
    return tuple(codings)


def compressed(body: bytes, codings: Sequence[str], room: int | None = None) -> Codings:
    """Coding and coded body, in the order of ``codings``, for each that is worth keeping.

    ``room``: bytes that all of them may take together; None: any number. Bodies over ``MAX_CODED``
    bytes have none. Equal bodies become equal bytes, as long as the coders' releases stay. A coder
    that fails costs its coding, never the page. Thread-safe.
    """
    if len(body) > MAX_CODED:
        return ()
    most = int(len(body) * (1 - MIN_SAVING))
    left = len(codings) * most if room is None else room
    kept = []
    for coding in codings:
        coded = _coded(body, coding)
        if coded is not None and len(coded) <= min(most, left):
            kept.append((coding, coded))
            left -= len(coded)
    return tuple(kept)


def _coded(body: bytes, coding: str) -> bytes | None:
    with suppress(Exception):
        return _coder(coding)(body)
    return None


@cache
def _coder(coding: str) -> Coder:
    """The function that codes a whole body; raises ``ImportError`` when it is not installed."""
    if coding == "br":
        return partial(import_module("brotli").compress, quality=BR_LEVEL)
    if coding == "zstd":
        return partial(_zstd().compress, level=ZSTD_LEVEL)
    return partial(zlib.compress, level=GZIP_LEVEL, wbits=_GZIP_FORMAT)


def _zstd() -> ModuleType:
    """The standard library's from Python 3.14 on (PEP 784), its backport before."""
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
