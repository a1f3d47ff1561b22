"""Which ``Vary`` a stored response may have (RFC 9111 §4.1)."""

from __future__ import annotations

from collections.abc import Collection

from ..fields import tokens
from ..messages import ResponseHead


def uncovered(head: ResponseHead, keyed: Collection[str]) -> str | None:
    """The first member of ``Vary`` that the key does not hold, None when it holds them all.

    The handler saw keyed inputs only, so another member tells that it *would* have answered
    differently: a sign that the rule forgot something. ``Accept-Encoding`` alone is let pass when
    the response came without a coding: every client can read that one (RFC 9110 §12.5.3).
    """
    for name in tokens(head.get("vary")):
        if name == "accept-encoding" and not head.has("content-encoding"):
            continue
        if name not in keyed or name == "*":
            return name
    return None
