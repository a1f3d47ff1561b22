"""Rules that stand at their views: ``@page``, and the rules that a URLconf makes of them.

- Rule 1. Django's order is the order: the first route that takes a path decides, and so the rules
  of views stand as their routes do.
- Rule 2. A rule takes no path of another view. A route without ``@page`` that stands before one
  becomes a rule that caches nothing, wherever both might take a path.
- Rule 3. What cannot be told for sure is an error, before anything is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from itertools import count
from types import MappingProxyType
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, cast

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.urls import get_resolver
from django.utils.decorators import method_decorator

from ...errors import ConfigError
from ...parameters import check_keys
from ...rules import Rule
from .making import Maker
from .routes import walk

_KEYS: Final = {f.name for f in fields(Rule) if f.init}
#: How the attributes of a view begin that its rules stand in. Each declaration has its own, because
#: ``method_decorator`` copies those of the overridden method over those of the overriding one.
_MARK: Final = "_pagegen_page_"
_numbers: Final = count(1)
_View = TypeVar("_View", bound=Callable[..., Any])


class PageKeys(TypedDict, total=False):
    """The keys of :class:`pagegen.Rule` but ``path``, which the URLconf says."""

    name: str
    cache: bool
    share: str | Sequence[str] | None
    methods: Sequence[str]
    namespaces: Sequence[str]
    strict: bool
    mode: Literal["keyed", "http"] | None
    ttl: str | float | Mapping[Any, str | float] | None
    swr: str | float | None
    sie: str | float | None
    early: bool | float
    soft: bool
    replica_lag: str | float | None
    heuristic: str | float | None
    client_reload: Literal["honour", "ignore"]
    own_url: bool | Literal["target"] | None
    groups: bool | None
    compress: Sequence[str]
    max_body: str | int
    query: Mapping[str, Any]
    headers: Mapping[str, Any]
    cookies: Mapping[str, Any]
    other_query: Literal["bypass", "drop", "key"] | None
    drop_query: Sequence[str]
    passthrough: Sequence[str]
    set_cookie: Literal["refuse", "drop"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one ``@page`` says."""

    said: Mapping[str, Any]


def page(**said: Unpack[PageKeys]) -> Callable[[_View], _View]:
    """Cache the pages of a view: the keys of a rule, whose paths come from the URLconf.

    Decorates functions, ``async`` ones too, what ``as_view()`` returns, a class of views, and its
    ``dispatch`` through ``method_decorator``. Raises ``ConfigError`` for unknown keys; what is
    wrong with the rest is found when the rules are made, and by ``manage.py check``.
    """
    if "path" in said:
        raise ConfigError("is given", "Leave it out: the URLconf says it", "path", "@page")
    try:
        check_keys(said, _KEYS, None)
    except ConfigError as error:
        raise error.at(where="@page") from None
    mark = f"{_MARK}{next(_numbers)}"
    declaration = Declaration(MappingProxyType(dict(said)))

    def decorate(view: _View) -> _View:
        if isinstance(view, type):
            return cast("_View", _on_class(decorate, view))
        shown = _around(view)
        setattr(shown, mark, declaration)
        return cast("_View", shown)

    return decorate


def _on_class(decorate: Callable[[Any], Any], view: type) -> Any:
    if not hasattr(view, "dispatch"):
        raise ConfigError(
            f"{view.__qualname__} has no dispatch", "Decorate its instance, or as_view()", "@page"
        )
    return method_decorator(decorate, name="dispatch")(view)


def _around(view: Callable[..., Any]) -> Callable[..., Any]:
    """A function of its own, so that a view may be declared in one way here and another there."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def shown_later(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

        return shown_later

    @wraps(view)
    def shown(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return shown


def declaration_of(view: object) -> Declaration | None:
    """What ``@page`` says of a view; of a class the declaration nearest to it. Raises
    ``ConfigError`` where a function has two.
    """
    marks = [name for name in getattr(view, "__dict__", ()) if name.startswith(_MARK)]
    if not marks:
        return None
    if len(marks) > 1 and not hasattr(view, "view_class"):
        raise ConfigError("@page stands at it twice", "Remove one of them")
    last = max(marks, key=lambda name: int(name.removeprefix(_MARK)))
    found: Declaration = getattr(view, last)
    return found


def declared_rules(before: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of all views that ROOT_URLCONF leads to, to stand behind those ``before``.

    Raises ``ConfigError``, and what the import of the URLconf raises.
    """
    maker = _made(before)
    if maker.errors:
        raise maker.errors[0]
    return tuple(maker.rules)


def origins(before: Iterable[Rule] = ()) -> dict[str, str]:
    """The view of each rule of :func:`declared_rules`, by the rule's name."""
    return _made(before).origins


def problems() -> list[ConfigError]:
    """Everything that is wrong with the rules of views. What the import of the URLconf raises is
    left to Django's own checks.
    """
    try:
        return _made(()).errors
    except Exception:
        return []


def _made(before: Iterable[Rule]) -> Maker:
    entries = get_resolver().url_patterns if getattr(settings, "ROOT_URLCONF", None) else ()
    return Maker(tuple(walk(entries)), tuple(before), declaration_of)
