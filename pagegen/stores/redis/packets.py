"""What is sent in one go, and what its replies must look like.

A packet is packed commands and a check, which runs before the connection is used again: what it
raises decides what becomes of the connection.

==============  ============================================  ==========  ===========
raised          because the server                            connection  the breaker
==============  ============================================  ==========  ===========
``Refused``     answered that it does not do this             stays       answered
``Demoted``     is a replica, which answers with old things   is closed   failed
``Garbled``     gave no answer to this question               is closed   failed
==============  ============================================  ==========  ===========
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from ...errors import StoreError

T = TypeVar("T")

#: Bytes, a number, None, a list of such, or an error that the server answered with.
Reply = Any
#: Gets the run id of the connection's server, and the replies.
Check = Callable[[bytes, Sequence[Reply]], T]

#: Asked once on each connection, which ends where the server's process ends.
WHICH_PROCESS: Final = (b"INFO", b"server")
#: Asked behind the commands that it speaks for: see identity.py for the order.
WHICH_HISTORY: Final = (b"INFO", b"replication")


class Refused(StoreError):  # noqa: N818 - it is what happened; the tree of errors.py ends above
    """The server answered with an error; the connection is in order."""


class Demoted(StoreError):  # noqa: N818
    """The server is not a primary (any more)."""


class Garbled(StoreError):  # noqa: N818
    """These replies do not belong to what was asked."""


@dataclass(frozen=True, slots=True)
class Packet(Generic[T]):
    """Commands as bytes, how many replies they bring, and what makes the answer of these.

    ``repeatable`` says that nothing happens when the server gets it twice.
    """

    data: bytes
    replies: int
    check: Check[T]
    repeatable: bool = False


def pack(*commands: Sequence[bytes]) -> bytes:
    """Commands in the server's protocol (RESP 2 and 3 alike)."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            parts += b"$%d\r\n" % len(word), word, b"\r\n"
    return b"".join(parts)


def answered(reply: Reply) -> Reply:
    """A reply that is no error."""
    if isinstance(reply, ReadOnlyError):
        raise Demoted("it is a read-only replica") from reply
    if isinstance(reply, ResponseError):
        code = getattr(reply, "status_code", None)
        raise Refused(f"it answers {f'{code} ' if code else ''}{reply}") from reply
    return reply


def values(reply: Reply, count: int) -> list[bytes | None]:
    """The values of an ``MGET`` of so many keys."""
    found = answered(reply)
    if not isinstance(found, list) or len(found) != count:
        raise Garbled("it answers something else than was asked")
    if not all(value is None or isinstance(value, bytes) for value in found):
        raise Garbled("it answers with something that is no value")
    return found


def number(reply: Reply) -> int:
    """The reply of a command that counts."""
    if not isinstance(answered(reply), int):
        raise Garbled("it answers with something that is no number")
    return int(reply)


def stored(reply: Reply) -> bool:
    """Whether a ``SET`` was done; with ``NX`` it may answer that there is something already."""
    if answered(reply) not in (b"OK", None):
        raise Garbled("it answers with something that is no acknowledgement")
    return reply is not None


def has_room(reply: Reply) -> bool:
    """Whether a ``SET`` found room."""
    return False if isinstance(reply, OutOfMemoryError) else stored(reply)
