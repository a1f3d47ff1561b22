"""What Django's settings say: ``PAGEGEN``, and ``PAGEGEN_DJANGO`` where that is a file.

``PAGEGEN`` is a table of the shape of the TOML file, or the path of one (relative to ``BASE_DIR``).
What concerns Django alone stands under the table's key ``django``, or beside a file in
``PAGEGEN_DJANGO``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

from django.conf import settings
from django.core.signals import setting_changed

from pagegen.config import Configuration, from_table, load
from pagegen.errors import ConfigError
from pagegen.parameters import check_keys

#: Settings that a cache is built from.
OURS: Final = frozenset(("PAGEGEN", "PAGEGEN_DJANGO", "BASE_DIR", "ROOT_URLCONF"))
_Unseen = Literal["warn", "raise", "allow"]
# Attributes of a request that are made for each page, or that are the request itself.
_NOT_CARRIED: Final = frozenset(
    (
        "session", "user", "auser", "_cached_user", "_acached_user", "_messages", "META", "COOKIES",
        "GET", "POST", "FILES", "body", "headers", "environ", "scope", "path", "path_info",
        "method", "scheme", "resolver_match",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What concerns Django alone.

    outbox: write each invalidation into the transaction, too, for the case that a worker dies
        between commit and invalidation.
    unseen_writes: what becomes of writes to declared tables that no binding has seen.
    carry: attributes that outer middleware puts on requests and that the handlers of cacheable
        requests may see. They must not change the page.
    """

    outbox: bool = False
    unseen_writes: _Unseen = "warn"
    carry: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.outbox, bool):
            raise ConfigError("is no switch", "Write True or False", field="outbox")
        if self.unseen_writes not in get_args(_Unseen):
            raise ConfigError(
                f"{self.unseen_writes!r} is no choice",
                'Choose "warn", "raise" or "allow"',
                field="unseen_writes",
            )
        carry: object = self.carry
        if not isinstance(carry, (list, tuple)):
            raise ConfigError(
                f"{carry!r} is no list", 'Write a list such as ["site"]', field="carry"
            )
        for name in carry:
            _check_carried(name)
        object.__setattr__(self, "carry", tuple(carry))


def _check_carried(name: object) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(
            f"{name!r} is no attribute of a request",
            'Name attributes such as "site"',
            field="carry",
        )
    if name in _NOT_CARRIED:
        raise ConfigError(
            f"request.{name} is each visitor's own",
            "Key what the page depends on: share, [rule.query], [rule.headers], [rule.cookies]",
            field="carry",
        )


@cache
def options() -> Options:
    """What the settings say of Django alone; raises ``ConfigError``."""
    given, source = _given(), "PAGEGEN_DJANGO"
    beside = getattr(settings, "PAGEGEN_DJANGO", None)
    table: object = {} if beside is None else beside
    if isinstance(given, Mapping) and "django" in given:
        if beside is not None:
            raise ConfigError(
                "is said twice: here, and under the key django of PAGEGEN",
                "Keep one of them",
                file="settings.PAGEGEN_DJANGO",
            )
        table, source = given["django"], 'PAGEGEN["django"]'
    if not isinstance(table, Mapping):
        # Not a text or a list, which may hold a key or a password.
        told = f"a {type(table).__name__}" if isinstance(table, str | list | tuple) else repr(table)
        raise ConfigError(f"{told} is no table", "Write a dict", file=f"settings.{source}")
    try:
        check_keys(table, {f.name for f in fields(Options)}, None)
        return Options(**table)
    except ConfigError as error:
        raise error.at(file=f"settings.{source}") from None


def written() -> Configuration:
    """What the settings say, without the rules that stand at views. Raises ``ConfigError``."""
    options()
    given = _given()
    if given is None:
        return Configuration()
    base = getattr(settings, "BASE_DIR", None)
    directory = None if base is None else Path(base)
    if not isinstance(given, Mapping):
        return load(Path(given) if directory is None else directory / given)
    try:
        return from_table({k: v for k, v in given.items() if k != "django"}, directory)
    except ConfigError as error:
        raise error.at(file="settings.PAGEGEN") from None


def _given() -> Mapping[str, Any] | str | os.PathLike[str] | None:
    given: object = getattr(settings, "PAGEGEN", None)
    if given is None or (isinstance(given, (str, os.PathLike, Mapping)) and given != ""):
        return given
    raise ConfigError(
        f"{given!r} is neither a table nor a file",
        "Give a dict of the shape of the TOML file, or the path of one",
        file="settings.PAGEGEN",
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting in OURS:
        options.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pagegen.contrib.django.conf")
