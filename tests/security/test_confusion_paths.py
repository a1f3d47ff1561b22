"""No two requests whose paths an application can tell apart share a page, however they are spelled.

``PAGEGEN_TARGETS`` is how many generated targets are compared, each with all others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from werkzeug.wrappers import Request as WerkzeugRequest

from pagegen import Rule
from pagegen.asgi.requests import read_request as read_scope
from pagegen.messages import Request
from pagegen.planning import Planner
from pagegen.rulebook import RuleBook
from pagegen.testing import Front
from pagegen.verdicts import Bypass, Plan, Reason
from pagegen.wsgi.requests import read_request as read_environ
from tests.contrib.django import setting_up
from tests.security.requests_targets import ROOTS, environ_of, scope_of, target

TARGETS: Final = int(os.environ.get("PAGEGEN_TARGETS", "12000"))
BOOK: Final = RuleBook((Rule(path="/**", share="public", ttl="1h"),))

View = tuple[Any, ...]


def planner() -> Planner:
    """One that remembers nothing yet."""
    return Planner(BOOK, site="s", release="", passthrough=())


def drawn(front: Front, random: Random, *, tells: bool) -> tuple[View, Request]:
    """What an application sees of a generated target when nobody stands between, and the request
    as pagegen reads it. ``tells``: the server tells the raw target, as not all do.
    """
    raw, root, stripped = target(random), random.choice(ROOTS), random.random() < 0.1
    if front == "wsgi":
        made = environ_of(raw, root, stripped=stripped)
        if not tells:
            del made["RAW_URI"]
        keys = ("SCRIPT_NAME", "PATH_INFO", "RAW_URI")
        return tuple(made.get(key) for key in keys), read_environ(made)
    made = scope_of(raw, root, stripped=stripped)
    if not tells:
        del made["raw_path"]
    return tuple(made.get(key) for key in ("root_path", "path", "raw_path")), read_scope(made)


@pytest.mark.parametrize("tells", [True, False], ids=["raw target", "no raw target"])
def test_targets_that_applications_can_tell_apart_never_share_a_page(
    front: Front, tells: bool
) -> None:
    random, ours = Random(11), planner()
    owners: dict[bytes, View] = {}
    shared = 0
    for _ in range(TARGETS):
        seen, request = drawn(front, random, tells=tells)
        plan = ours.plan(request)
        if isinstance(plan, Plan):
            shared += plan.slot in owners
            assert owners.setdefault(plan.slot, seen) == seen
            # What is remembered is what is worked out anew.
            fresh = planner().plan(request)
            assert isinstance(fresh, Plan)
            assert fresh.key == plan.key
        else:
            assert plan == Bypass(Reason.PATH) or request.path == ""
    assert len(owners) > TARGETS / 40
    assert shared > TARGETS / 40


def of_werkzeug(root: str, raw: str) -> str:
    """The path that Flask routes."""
    return WerkzeugRequest(environ_of(raw, root)).path


def of_django(root: str, raw: str) -> str:
    """The path that Django routes under WSGI."""
    setting_up.configure()
    from django.core.handlers.wsgi import WSGIRequest

    return str(WSGIRequest(environ_of(raw, root)).path_info)


def of_async_django(root: str, raw: str) -> str:
    """The path that Django routes under ASGI."""
    setting_up.configure()
    from django.core.handlers.asgi import ASGIRequest

    return str(ASGIRequest(scope_of(raw, root), None).path_info)


def of_starlette(root: str, raw: str) -> str:
    """The path that Starlette and FastAPI route."""
    from starlette._utils import get_route_path

    return get_route_path(scope_of(raw, root))


ROUTED: Final[dict[str, tuple[Callable[[str, str], str], Front]]] = {
    "Werkzeug": (of_werkzeug, "wsgi"),
    "Django": (of_django, "wsgi"),
    "Django's ASGI": (of_async_django, "asgi"),
    "Starlette": (of_starlette, "asgi"),
}


@pytest.mark.parametrize("name", ROUTED)
def test_the_path_that_a_framework_routes_is_the_one_that_the_rule_was_chosen_by(name: str) -> None:
    routed, front = ROUTED[name]
    random, ours, compared = Random(13), planner(), 0
    for _ in range(TARGETS // 8):
        raw, root = target(random), random.choice(ROOTS)
        made = environ_of(raw, root) if front == "wsgi" else scope_of(raw, root)
        if random.random() < 0.5:
            # Where no raw target shows that something is amiss.
            del made["RAW_URI" if front == "wsgi" else "raw_path"]
        request = read_environ(made) if front == "wsgi" else read_scope(made)
        if isinstance(ours.plan(request), Plan):
            path = routed(root, raw)
            # A path without a slash in front has no route at all.
            assert path == request.path or not path.startswith("/"), (root, raw)
            compared += path == request.path
    assert compared > TARGETS / 80
