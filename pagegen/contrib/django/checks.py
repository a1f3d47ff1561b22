"""System checks (tag ``pagegen``): every mistake that can be seen before the first request.

======================  ============================================================================
``pagegen.E001``        the settings, or all rules together, are wrong
``pagegen.E002``        a model declares namespaces wrongly
``pagegen.E003``        a rule at a view is wrong
``pagegen.E004``        ``request.user`` is asked for where there is none yet
``pagegen.E005``        another page cache would bring forgotten pages back
``pagegen.W101``        the language is chosen in front of our middleware
``pagegen.W102``        pages are compressed outside of the cache
``pagegen.W103``        CSRF tokens are made behind our middleware
``pagegen.W104``        ``request.site`` is set where no page can see it
``pagegen.W105``        several processes, and a store of one
``pagegen.W106``        no rule at all
======================  ============================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from django.core import checks

from pagegen.cache import PageCache
from pagegen.config import Configuration
from pagegen.errors import ConfigError
from pagegen.stores import MemoryStore

from . import caches, conf, rows, views
from .identity import SOURCE
from .stack import LOCALE, OURS, Stack, entries, place

#: What ``manage.py check --tag`` names.
TAG: Final = "pagegen"
_SESSIONS: Final = "django.contrib.sessions.middleware.SessionMiddleware"
_AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
_CSRF: Final = "django.middleware.csrf.CsrfViewMiddleware"
_GZIP: Final = "django.middleware.gzip.GZipMiddleware"
_SITE: Final = "django.contrib.sites.middleware.CurrentSiteMiddleware"
_CACHES: Final = (
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
)


def install() -> None:
    """Register the checks. A second time changes nothing."""
    checks.register(check_configuration, TAG)
    checks.register(check_middleware, TAG)
    checks.register(check_store, TAG)
    checks.register(check_deployment, TAG, deploy=True)


def check_configuration(**_: Any) -> list[Any]:
    """Settings, models' declarations, and views' rules, each mistake by itself."""
    settings_problem = _settings_problem()
    found = [_error("E002", error) for error in rows.problems()]
    if settings_problem is not None:
        return [_error("E001", settings_problem), *found]
    of_views = [_error("E003", error) for error in views.problems()]
    if of_views:
        return [*found, *of_views]
    try:
        configuration = caches.configuration()
        # All that a cache minds, without opening its store.
        PageCache.from_configuration(configuration, store=MemoryStore()).close()
    except ConfigError as error:
        return [_error("E001", error), *found]
    if not configuration.book.rules:
        found.append(
            checks.Warning(
                "pagegen.contrib.django is installed, and no rule says what to cache.",
                hint="Put @page(...) at a view, or a rule into settings.PAGEGEN.",
                id="pagegen.W106",
            )
        )
    return found


def _settings_problem() -> ConfigError | None:
    try:
        conf.written()
    except ConfigError as error:
        return error
    return None


def _error(number: str, error: ConfigError) -> Any:
    """A mistake in the configuration as Django shows it."""
    where = ": ".join(part for part in (error.file, error.where, error.field) if part)
    return checks.Error(
        f"{where + ': ' if where else ''}{error.problem}.",
        hint=error.remedy if error.remedy.endswith(("?", ".", "…")) else f"{error.remedy}.",
        id=f"pagegen.{number}",
    )


def check_middleware(**_: Any) -> list[Any]:
    """The order of MIDDLEWARE."""
    stack = entries()
    here = place(stack, OURS)
    found = list(_other_caches(stack))
    configuration = _configuration()
    if configuration is not None and _asks_for_users(configuration):
        found += _about_users(stack, here)
    if here is not None:
        found += _around(stack, here)
    return found


def _configuration() -> Configuration | None:
    """All rules; None where another check says what is wrong with them."""
    try:
        return caches.configuration()
    except Exception:
        return None


def _asks_for_users(configuration: Configuration) -> bool:
    identities = configuration.book.identities
    return any(
        SOURCE in identities[name].sources
        for rule in configuration.book.rules
        for name in rule.identities
    )


def _about_users(stack: Stack, here: int | None) -> Iterator[Any]:
    remedy = (
        f"Order MIDDLEWARE so: SessionMiddleware, AuthenticationMiddleware, and behind them {OURS}."
    )
    if here is None:
        yield checks.Error(
            f"Rules are keyed by request.user ({SOURCE}), and {OURS} is not in MIDDLEWARE.",
            hint=f"Such requests all bypass the cache. {remedy}",
            id="pagegen.E004",
        )
        return
    for kind in (_SESSIONS, _AUTHENTICATION):
        there = place(stack, kind)
        if there is None or there > here:
            yield checks.Error(
                f"Rules are keyed by request.user, and {kind.rpartition('.')[2]} does not stand in "
                "front of pagegen's middleware.",
                hint=remedy,
                id="pagegen.E004",
            )


def _other_caches(stack: Stack) -> Iterator[Any]:
    for kind in _CACHES:
        there = place(stack, kind)
        if there is not None:
            yield checks.Error(
                f"{stack[there][0]} stores the same pages again, and serves them when pagegen has "
                "forgotten them.",
                hint="Remove it from MIDDLEWARE. Views that only it should cache: "
                "django.views.decorators.cache.cache_page, and a rule with cache = False.",
                id="pagegen.E005",
            )


def _around(stack: Stack, here: int) -> Iterator[Any]:
    """What stands on the wrong side of our middleware."""
    locale, csrf = place(stack, LOCALE), place(stack, _CSRF)
    if locale is not None and locale < here:
        yield checks.Warning(
            "LocaleMiddleware stands in front of pagegen's middleware: visitors of all languages "
            "but the settings' own bypass the cache.",
            hint="Put it behind, and key what it looks at: "
            '"headers": {"accept-language": {"values": [...]}}.',
            id="pagegen.W101",
        )
    if (gzip := place(stack, _GZIP)) is not None:
        side = "each hit is compressed anew" if gzip < here else "its pages vary and are not stored"
        yield checks.Warning(
            f"GZipMiddleware stands {'in front of' if gzip < here else 'behind'} pagegen's "
            f"middleware: {side}.",
            hint='Remove it, and let pagegen keep compressed pages: "compress": ["gzip"].',
            id="pagegen.W102",
        )
    if csrf is not None and csrf > here:
        yield checks.Warning(
            "CsrfViewMiddleware stands behind pagegen's middleware: each page with a token gives "
            "its visitor a new secret, and forms in other windows fail.",
            hint="Put it in front.",
            id="pagegen.W103",
        )
    yield from _about_site(stack, here)


def _about_site(stack: Stack, here: int) -> Iterator[Any]:
    there = place(stack, _SITE)
    if there is not None and there < here and "site" not in _carried():
        yield checks.Warning(
            "CurrentSiteMiddleware stands in front of pagegen's middleware: pages that are cached "
            "have no request.site.",
            hint='Put it behind (the host is in every page\'s key), or add "site" to '
            'PAGEGEN["django"]["carry"].',
            id="pagegen.W104",
        )


def _carried() -> tuple[str, ...]:
    try:
        return conf.options().carry
    except ConfigError:
        return ()


def check_store(**_: Any) -> list[Any]:
    """A store of one process, where the environment says that there are several."""
    workers = os.environ.get("WEB_CONCURRENCY", "")
    if workers.isdigit() and int(workers) > 1:
        return _store_of_one(f"WEB_CONCURRENCY is {workers}")
    return []


def check_deployment(**_: Any) -> list[Any]:
    """A store of one process, where the project is deployed."""
    return [] if check_store() else _store_of_one("Deployed with more than one process")


def _store_of_one(what: str) -> list[Any]:
    configuration = _configuration()
    if configuration is None or not configuration.settings.store.startswith("memory:"):
        return []
    return [
        checks.Warning(
            f"{what}, each has pages of its own, and serves what another one has forgotten: the "
            "store is memory://.",
            hint='Give all of them one store, such as "pagegen": {"store": "lmdb://.pagegen"}.',
            id="pagegen.W105",
        )
    ]
