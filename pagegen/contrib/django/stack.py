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


def locale_is_behind() -> bool:
    """Whether the language is chosen by ``LocaleMiddleware`` behind ours."""
    stack = entries()
    here, there = place(stack, OURS), place(stack, LOCALE)
    return here is not None and there is not None and there > here
