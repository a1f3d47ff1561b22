"""What outer middleware may have activated in this thread, and no key holds.

A page is rendered in the settings' own language and time zone. A visitor for whom outer middleware
has chosen others gets no page from the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.db import connections
from django.http import HttpRequest
from django.utils import timezone, translation

from ...logs import logger

log = logger("pagegen.contrib.django")


@contextmanager
def plainly() -> Iterator[None]:
    """The language and time zone of the settings, whatever was activated in this thread."""
    with translation.override(settings.LANGUAGE_CODE), timezone.override(None):
        yield


_BEHIND: Final = "Put that middleware behind it, and key what it looks at"


class Doubts:
    """What outer middleware may have set that no key holds: such requests bypass.

    ``speaks``: whether the language is chosen behind us, so that what it is here does not matter.
    """

    def __init__(self, speaks: bool) -> None:
        self._speaks = speaks
        self._told: set[str] = set()
        self._told_of_transactions = False

    def about(self, request: HttpRequest) -> bool:
        """Whether there is any doubt; each is logged once."""
        if getattr(request, "urlconf", None) is not None:
            return self._tell("request.urlconf is set by middleware in front of pagegen's", _BEHIND)
        if not self._speaks and not _is_default_language():
            return self._tell(
                f"the language {translation.get_language()!r} was activated in front of pagegen's "
                "middleware",
                'Put LocaleMiddleware behind it and key the header: "headers": '
                '{"accept-language": {"values": ["en", "de"]}}',
            )
        if settings.USE_TZ and timezone.get_current_timezone() != timezone.get_default_timezone():
            return self._tell(
                f"the time zone {timezone.get_current_timezone_name()!r} was activated in front of "
                "pagegen's middleware",
                _BEHIND,
            )
        session = vars(request).get("session")
        if session is not None and session.modified:
            return self._tell(
                "the session was changed by middleware in front of pagegen's", "", quiet=True
            )
        return False

    def begun(self) -> bool:
        """Whether a transaction is open around a page that was made in this thread.

        What was read in it may be rolled back, or older than the tokens. A hit does no harm there.
        """
        if not any(map(_is_open, connections.all(initialized_only=True))):
            return False
        if not self._told_of_transactions:
            self._told_of_transactions = True
            log.warning(
                "a transaction was begun in front of pagegen's middleware: pages that are made in "
                "it are not stored. Put that middleware behind it, or use ATOMIC_REQUESTS. This is "
                "said once"
            )
        return True

    def _tell(self, what: str, remedy: str, *, quiet: bool = False) -> bool:
        kind = what.partition("'")[0]
        if not quiet and kind not in self._told:
            self._told.add(kind)
            log.warning(
                "%s, which no page is keyed by: such requests bypass the cache. %s. "
                "This is said once",
                what,
                remedy,
            )
        return True


def _is_open(connection: Any) -> bool:
    """Whether a connection is in a transaction, other than the one that a TestCase is run in."""
    if connection.in_atomic_block:
        blocks = connection.atomic_blocks
        return not all(getattr(block, "_from_testcase", False) for block in blocks)
    return connection.connection is not None and not connection.autocommit


def _is_default_language() -> bool:
    active = translation.get_language()
    return active is not None and active.lower() == settings.LANGUAGE_CODE.lower()
