"""Middleware of a project's own, as tests put it around ours."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils import timezone, translation


class _Before:
    """Does something to a request, and nothing to its response."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        self.touch(request)
        return self.get_response(request)

    def touch(self, request: Any) -> None:
        raise NotImplementedError


class Speaks(_Before):
    """Activates the language that a header names."""

    def touch(self, request: Any) -> None:
        translation.activate(request.headers.get("x-language", "en"))


class Travels(_Before):
    """Activates the time zone that a header names."""

    def touch(self, request: Any) -> None:
        timezone.activate(request.headers.get("x-zone", "America/Chicago"))


class Tenants(_Before):
    def touch(self, request: Any) -> None:
        request.tenant = request.headers.get("x-tenant", "nobody")


class Routes(_Before):
    def touch(self, request: Any) -> None:
        if "x-urlconf" in request.headers:
            request.urlconf = "tests.contrib.django.site"


class Signs(_Before):
    """Puts a user on the request by other means than the session."""

    def touch(self, request: Any) -> None:
        from django.contrib.auth.models import User

        if (name := request.headers.get("x-user")) is not None:
            request.user = User(pk=len(name), username=name)


class Remembers(_Before):
    """Changes the session before our middleware runs."""

    def touch(self, request: Any) -> None:
        if "x-remember" in request.headers:
            request.session["remembered"] = request.headers["x-remember"]


class Names(_Before):
    """Says in the response whom it takes the request to be from."""

    sync_capable, async_capable = True, False

    def __call__(self, request: Any) -> Any:
        assert str(request.user) == "AnonymousUser"
        response = self.get_response(request)
        response["X-User"] = str(request.user)
        return response


class SyncOnly(_Before):
    async_capable = False

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)


class AsyncOnly(_Before):
    sync_capable = False

    async def __call__(self, request: Any) -> Any:
        return await self.get_response(request)
