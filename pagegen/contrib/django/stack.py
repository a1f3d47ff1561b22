"""Where our middleware stands in ``MIDDLEWARE``, and what stands around it.

Classes are known by their dotted paths: some of Django's cannot be imported where their app is not
installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

OURS: Final = "pagegen.contrib.django.middleware.PageCacheMiddleware"
LOCALE: Final = "django.middleware.locale.LocaleMiddleware"

Stack = Sequence[tuple[str, Any]]


def entries() -> Stack:
    """Paths of all middleware, in order, with what they name; None for what cannot be imported."""
    found = []
    for path in settings.MIDDLEWARE:
        try:
            found.append((path, import_string(path)))
        except ImportError:  # Django says so when it starts
            found.append((path, None))
    return found


def place(stack: Stack, wanted: str) -> int | None:
    """The position of the first middleware that is of this class, or of one that inherits it."""
    for position, (path, middleware) in enumerate(stack):
        bases = getattr(middleware, "__mro__", ())
        if path == wanted or wanted in [f"{b.__module__}.{b.__qualname__}" for b in bases]:
            return position
    return None


def may_begin_in_front() -> bool:
    """Whether middleware in front of ours has code that runs in a thread, where a transaction could
    be begun around us. Django's own begin none.
    """
    stack = entries()
    halves = ("process_request", "process_view")
    return any(
        not getattr(middleware, "async_capable", False)
        or any(hasattr(middleware, half) for half in halves)
        for path, middleware in stack[: place(stack, OURS)]
        if middleware is not None and not path.startswith("django.")
    )


def locale_is_behind() -> bool:
    """Whether the language is chosen by ``LocaleMiddleware`` behind ours."""
    stack = entries()
    here, there = place(stack, OURS), place(stack, LOCALE)
    return here is not None and there is not None and there > here
