"""Asking the sources of an identity who sends a request."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from .errors import ConfigError, IdentityError
from .fields import MAX_COOKIES, cookies
from .identities import Identity, Source
from .logs import kind, logger
from .messages import Request

log = logger("pagegen.identity")

#: Longer answers are a doubt. Browsers keep cookies of up to 4,096 bytes.
MAX_LENGTH: Final = 4096

Answer = str | int | None


class DoubtError(Exception):
    """A source raised, or answered with something that identifies nobody for sure."""


@dataclass(frozen=True, slots=True)
class Identified:
    """An identity's value, and which of its sources gave it (None: no source did).

    ``asked`` are the sources up to that one, of which it is in the key that they did not answer,
    and what the identity reveals, which it determines.
    ``shown`` are those whose finding the handler may see.
    """

    name: str
    value: Answer
    position: int | None
    asked: tuple[Source, ...]
    shown: tuple[Source, ...]


class Identifier:
    """One declared identity, ready to be asked.

    Functions of ``call:`` sources are imported here, so a wrong name stops the start. A module that
    is still being imported (it builds the cache itself) is asked for its function at the first
    request instead.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._functions: dict[Source, Callable[[Mapping[str, Any]], object]] = {}
        self._complained: set[Source] = set()
        for source in identity.sources:
            if source.kind == "call" and not _importing(source.target):
                self._function(source)

    def ask(self, request: Request) -> Identified:
        """The first answer; raises ``DoubtError``, logged once per source."""
        name, sources = self.identity.name, self.identity.sources
        for position, source in enumerate(sources):
            try:
                value = _answer(self._read(source, request))
            except DoubtError:
                raise  # the client's doing, not the source's
            except Exception as error:
                self._complain(source, error)
                raise DoubtError(f"identity {name}: {source}") from error
            if value is not None:
                shown = (source, *self.identity.reveal)
                asked = (*sources[: position + 1], *self.identity.reveal)
                return Identified(name, value, position, asked, shown)
        return self._nobody(request, sources)

    def _nobody(self, request: Request, sources: tuple[Source, ...]) -> Identified:
        objects = tuple(
            source
            for source in sources
            if source.kind in ("scope", "environ") and found_in(request.context, source)
        )
        anonymous = self.identity.anonymous
        if anonymous == "bypass" or (objects and anonymous == "share"):
            raise DoubtError(f"identity {self.identity.name}: nobody")
        asked = (*sources, *self.identity.reveal)
        return Identified(self.identity.name, None, None, asked, objects)

    def _read(self, source: Source, request: Request) -> object:
        if source.kind == "header":
            return request.fields.get(source.target)
        if source.kind == "cookie":
            return one_cookie(request, source.target)
        if source.kind == "call":
            return self._function(source)(request.context)
        return inside(request.context, (source.target, *source.path))

    def _function(self, source: Source) -> Callable[[Mapping[str, Any]], object]:
        if (known := self._functions.get(source)) is None:
            known = self._functions[source] = _import(source, self.identity.name)
        return known

    def _complain(self, source: Source, error: Exception) -> None:
        if source in self._complained:
            return
        self._complained.add(source)
        log.warning(
            "identity %r: source %s failed (%s); such requests bypass the cache. This is said once",
            self.identity.name,
            source,
            # What others raise may say who asked.
            str(error) if isinstance(error, IdentityError) else kind(error),
        )


def one_cookie(request: Request, name: str) -> str | None:
    """The value of a cookie; raises ``DoubtError`` when it was sent twice, or among too many."""
    jar = request.fields.get("cookie")
    if jar is not None and len(jar) > MAX_COOKIES:
        raise DoubtError(f"a Cookie field of {len(jar)} characters")
    found = [value for key, value in cookies(jar) if key == name]
    if len(found) > 1:
        raise DoubtError(f"cookie {name} came {len(found)} times")
    return found[0] if found else None


def found_in(context: Mapping[str, Any], source: Source) -> bool:
    """Whether a source's scope or environ key holds anything, whatever is inside."""
    key = _longest(context, (source.target, *source.path))
    if key is None:
        return False
    found = context[key]
    # By type, since an object may call itself equal to anything.
    return found is not None and (type(found) not in (str, bytes) or bool(found))


def _longest(mapping: Mapping[str, Any], path: tuple[str, ...]) -> str | None:
    """The longest start of a dotted path that is a key: keys may hold dots themselves."""
    keys = (".".join(path[:length]) for length in range(len(path), 0, -1))
    return next((key for key in keys if key in mapping), None)


def inside(context: Any, path: tuple[str, ...]) -> object:
    """The value at a dotted path through mappings and attributes, None when it ends early."""
    if not path or context is None:
        return context
    if not isinstance(context, Mapping):
        return inside(getattr(context, path[0], None), path[1:])
    key = _longest(context, path)
    return None if key is None else inside(context[key], path[key.count(".") + 1 :])


def reveal(
    context: Mapping[str, Any], seen: MutableMapping[str, Any], path: tuple[str, ...]
) -> None:
    """Copy what a dotted path names into what the handler sees.

    The same walk as :func:`inside` takes: of each mapping only the member that the path goes on
    with, of anything else the whole object. What is named by several paths is seen by all of them.
    """
    key = _longest(context, path)
    if key is None:
        return
    found, rest = context[key], path[key.count(".") + 1 :]
    if not rest or not isinstance(found, Mapping):
        seen[key] = found
        return
    beside = seen.get(key)
    # A copy: what stands there may be the application's own.
    inner = dict(beside) if isinstance(beside, Mapping) else {}
    reveal(found, inner, rest)
    seen[key] = inner


def _answer(value: object) -> Answer:
    if value is None:
        return None
    exact = _exact(value)
    if exact is None:
        raise IdentityError(f"a {type(value).__name__} identifies nobody: give text or a number")
    if len(str(exact)) > MAX_LENGTH:
        raise IdentityError(f"more than {MAX_LENGTH} characters")
    return None if exact == "" else exact


def _exact(value: object) -> Answer:
    """Text or number without its class; None for anything else.

    A subclass may compare, hash and print as somebody else, and so share their pages. Raises
    ``TypeError`` for what only claims to be one of these (a proxy), ``UnicodeDecodeError`` for
    bytes that are no UTF-8.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes.decode(value, "utf-8")
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__index__(value)
    return None


def _importing(module: str) -> bool:
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _import(source: Source, name: str) -> Callable[[Mapping[str, Any]], object]:
    def problem(what: str) -> ConfigError:
        return ConfigError(
            f"{source} {what}",
            "Name an importable module and a function of one argument (the environ or scope)",
            field="from",
            where=f"[identity.{name}]",
        )

    try:
        found: Any = importlib.import_module(source.target)
    except ImportError as error:
        raise problem(f"cannot be imported ({error})") from None
    for part in source.path:
        found = getattr(found, part, None)
    if not callable(found):
        raise problem("is no function")
    if inspect.iscoroutinefunction(found):
        raise problem("is a coroutine function, which a look-up cannot await")
    return found  # type: ignore[no-any-return]
