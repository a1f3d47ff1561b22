"""Who is asking, by ``request.user``: the source of an identity inside Django's own stack.

::

    "identity": {"user": {"from": ["call:pagegen.contrib.django.identity:user"]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pagegen.errors import IdentityError
from pagegen.identities import Source

#: Where environ and scope carry the request on its way through; never seen by a handler.
PASSAGE: Final = "pagegen.contrib.django.passage"
#: The source that :func:`user` is.
SOURCE: Final = Source("call", __name__, ("user",))


def user(context: Mapping[str, Any]) -> str | int | None:
    """The primary key of the user who is logged in, None for anonymous visitors.

    Asked only for pages that are shared by it, so public pages cost no query for a session. Raises
    ``IdentityError``, which makes the request a bypass, where no middleware of Django's stack built
    the environ or scope.
    """
    passage = context.get(PASSAGE)
    if passage is None:
        raise IdentityError(
            "request.user is known inside Django's stack only: put "
            '"pagegen.contrib.django.middleware.PageCacheMiddleware" into MIDDLEWARE, behind '
            "AuthenticationMiddleware, instead of wrapping the application"
        )
    found = passage.user()
    return found.pk if found.is_authenticated else None
