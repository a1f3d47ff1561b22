"""Mistakes that a check of the forum must find."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Final

from pagegen.cache import PageCache
from pagegen.contrib.django import transactions
from pagegen.verdicts import Invalidation

#: Seconds between an early invalidation and what is left of its transaction.
EARLY: Final = 0.03


def make(mistake: str) -> None:
    """``early``: namespaces are forgotten before the commit. ``undeclared``: posts declare none."""
    if mistake == "early":
        transactions.later = _now
    elif mistake == "undeclared":
        from .models import Post

        del Post.pagegen_namespaces


def _now(cache: PageCache, names: Sequence[str], **_: Any) -> Invalidation:
    # Outside of the request, or pagegen mends the mistake when the view has ended.
    done = Context().run(PageCache.invalidate, cache, *names)
    time.sleep(EARLY)
    return done
