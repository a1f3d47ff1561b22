"""What can be wrong with a request, as exceptions that both applications turn into one page.

Problem
├── BadInput    400   a query or form value has the wrong shape
├── NotAllowed  403   another user's list, or a form sent from another site
└── Missing     404   no such package, user or category
"""

from typing import ClassVar


class Problem(Exception):  # noqa: N818  a page for people, not a fault
    """An answer that is not the page asked for; `str()` of it is shown to people."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"


class BadInput(Problem):
    """A query or form value has the wrong shape."""

    status = 400
    title = "That address does not work"


class NotAllowed(Problem):
    """The request is understood and refused."""

    status = 403
    title = "Not yours to change"


class Missing(Problem):
    """There is nothing at this address."""

    status = 404
    title = "Nothing here"
