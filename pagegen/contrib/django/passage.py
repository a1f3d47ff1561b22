"""A request on its way through our middleware: what its handler may see, and what it has used.

Rules of this file:

1. What is in the key is shown. What is not is hidden, but for what Django lets us watch: session,
   user and CSRF token work for their visitor, and a page that used one of them is never shared.
2. What was used is given back to the outer request, so that outer middleware sends the cookie,
   saves the session, and says ``Vary: Cookie``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.messages.storage import default_storage
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject, empty

from pagegen.cache import PageCache
from pagegen.stepping import step
from pagegen.verdicts import Plan, Ticket

from .identity import SOURCE

#: The field by which an answer says to our cache alone that it is one visitor's.
PRIVATE: Final = ("Pagegen-Cache-Control", "private")
_CSRF: Final = "CSRF_COOKIE"
_USED: Final = "CSRF_COOKIE_NEEDS_UPDATE"


class Passage:
    """One request, and what ``get_response`` made of it.

    ``outer``: as outer middleware left it.  ``response``: that of a page, the last one that was
    made, None for a hit.  ``bypassed``: that of a bypass.  ``closers``: what is to be closed with
    the answer.  ``rest``: the content of a page's response that streams on.
    """

    def __init__(self, outer: HttpRequest) -> None:
        self.outer = outer
        self.response: Any = None
        self.bypassed: Any = None
        self.closers: list[Callable[[], object]] = []
        self.rest: Any = None

    def user(self) -> Any:
        """The outer request's user. Raises ``AttributeError`` where there is no such thing."""
        return self.outer.user

    @property
    def user_is_unknown(self) -> bool:
        """Whether asking for the user may take a query."""
        user = vars(self.outer).get("user")
        return _is_lazy(user) and user._wrapped is empty

    def find_user(self) -> None:
        """Look the user up now."""
        _unwrapped(self.user())


def _is_lazy(value: Any) -> bool:
    return type(value) is SimpleLazyObject


class Meta(dict[str, Any]):
    """``META`` of a page's request: the CSRF secret is there for who asks for it by name, as
    ``get_token`` does, and that is noted. Who looks through all of it does not find it.
    """

    def __init__(self, meta: Mapping[str, Any], secret: str | None) -> None:
        super().__init__(meta)
        self._secret = secret
        self.asked = False

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key == _CSRF and self._secret is not None)

    def __missing__(self, key: str) -> Any:
        if key != _CSRF or self._secret is None:
            raise KeyError(key)
        self.asked = True
        return self._secret

    def get(self, key: str, default: Any = None) -> Any:
        """See ``dict``."""
        try:
            return self[key]
        except KeyError:
            return default


class Forwarded:
    """A request whose page is to be rendered for the cache.

    ``behind``: its client has been answered with an older page; whatever the handler does to
    session and cookies reaches nobody.
    """

    def __init__(self, passage: Passage, plan: Plan, carry: tuple[str, ...], behind: bool) -> None:
        self.passage = passage
        self._plan = plan
        self._carry = carry
        self.behind = behind
        self._touched = False
        # What the inner request was given.
        self._meta = Meta({}, None)
        self._session: Any = None
        self._user: Any = None

    def prepare(self, inner: HttpRequest) -> None:
        """Put on the inner request what its handler may use."""
        outer = vars(self.passage.outer)
        for name in self._carry:
            if name in outer:
                setattr(inner, name, outer[name])
        if "LANGUAGE_CODE" in outer:
            inner.LANGUAGE_CODE = settings.LANGUAGE_CODE
        self._meta = Meta(inner.META, None if self.behind else self.passage.outer.META.get(_CSRF))
        inner.META = self._meta
        if "environ" in vars(inner):
            inner.environ = self._meta
        if "session" in outer:
            self._session = self._session_like(outer["session"])
            inner.session = self._session
        if "user" in outer:
            self._give_user(inner)
        if "_messages" in outer:
            self._give_messages(inner)

    def keep(self, response: Any, inner: HttpRequest, rest: Any) -> None:
        """Remember the response that was made, and what is to be closed with it."""
        passage = self.passage
        response._resource_closers.append(inner.close)
        if self.behind:
            release(response)
            return
        if passage.response is not None:  # the one before answered a condition for another page
            passage.closers += passage.response._resource_closers
        passage.response, passage.rest = response, rest

    @property
    def limit(self) -> int:
        """Bytes of a body that may be stored."""
        return self._plan.rule.body_limit

    def _session_like(self, session: Any) -> Any:
        """The session itself where it is in the key, else another one of the same visitor's."""
        if self._keyed_by_session:
            return session
        kind: Any = type(session)
        return _noting(kind)(None if self.behind else session.session_key)

    def _give_user(self, inner: Any) -> None:
        if self._keyed_by_user or self._keyed_by_session:
            user = self.passage.user()
            inner.user = self._user = user
            inner.auser = partial(_answer, user)
            return
        inner.user = self._user = SimpleLazyObject(self._touch)
        inner.auser = self._atouch

    def _touch(self) -> Any:
        self._touched = True
        if self.behind:
            # A module of models: not before all apps are there.
            from django.contrib.auth.models import AnonymousUser  # noqa: PLC0415

            return AnonymousUser()
        return _unwrapped(self.passage.user())

    async def _atouch(self) -> Any:
        self._touched = True
        ask = getattr(self.passage.outer, "auser", None)
        if self.behind or ask is None:
            return await sync_to_async(self._touch, thread_sensitive=True)()
        return await ask()

    def _give_messages(self, inner: Any) -> None:
        inner._messages = default_storage(inner)

    def conclude(self, inner: HttpRequest) -> bool:
        """Whether the page is this visitor's alone; gives back what its handler has used."""
        session, messages = self._used_session(inner), self._used_messages(inner)
        token = self._meta.asked or dict.__contains__(inner.META, _CSRF) or _USED in inner.META
        if not self.behind:
            self._give_back(inner, session, messages, token)
        return self._touched or session or messages or token or self._changed_user(inner)

    def _give_back(self, inner: Any, session: bool, messages: bool, token: bool) -> None:
        outer: Any = self.passage.outer
        if token:
            outer.META.update({k: inner.META[k] for k in (_CSRF, _USED) if k in inner.META})
        if session:
            outer.session = inner.session
        if messages:
            outer._messages = inner._messages
        if self._changed_user(inner):
            outer.user = inner.user

    def _used_session(self, inner: Any) -> bool:
        # A session that middleware behind us has made is that middleware's to save.
        if self._session is None:
            return False
        session = inner.session
        read: bool = session.accessed and not self._keyed_by_session
        return read or session.modified or session is not self._session

    def _used_messages(self, inner: Any) -> bool:
        if "_messages" not in vars(self.passage.outer):
            return False
        storage = inner._messages
        return bool(storage.added_new or (storage.used and len(storage)))

    def _changed_user(self, inner: Any) -> bool:
        """Whether the handler has logged somebody in or out."""
        return self._user is not None and inner.user is not self._user

    @property
    def _keyed_by_user(self) -> bool:
        return any(SOURCE in who.asked for who in self._plan.inputs.people)

    @property
    def _keyed_by_session(self) -> bool:
        """Whether the key holds the session's cookie, or that there is none."""
        name = settings.SESSION_COOKIE_NAME
        if self._plan.rule.open:
            return False
        if any(name == keyed for keyed, _ in self._plan.inputs.cookies):
            value = dict(self._plan.inputs.cookies)[name]
            return bool(value == self.passage.outer.COOKIES.get(name))
        return any(
            source.kind == "cookie" and source.target == name
            for who in self._plan.inputs.people
            for source in who.asked
        )


def _unwrapped(user: Any) -> Any:
    """The user itself, looked up now."""
    if _is_lazy(user):
        bool(user.is_authenticated)
        return user._wrapped
    return user


async def _answer(value: Any) -> Any:
    return value


@cache
def _noting(kind: Any) -> Any:
    """A kind of session that notes, too, that somebody has asked for its key: Django's own do so
    for their content only, and who prints the key has given it to all who get the page.
    """

    class Noting(kind):
        def _note(self) -> Any:
            self.accessed = True
            return kind._session_key.fget(self)

        session_key = property(_note)
        _session_key = property(_note, kind._session_key.fset)

    Noting.__name__, Noting.__qualname__ = kind.__name__, kind.__qualname__
    Noting.__module__ = kind.__module__
    return Noting


class Afterwards:
    """A rendering that is done when its client has been answered, or given up.

    It runs in the thread of the request, when Django closes the response: what outer middleware has
    set in this thread, a tenant's database for one, is still there.
    """

    def __init__(self, work: Callable[[], object], cache: PageCache, ticket: Ticket) -> None:
        self._work: Callable[[], object] | None = work
        self._engine = cache.engine
        self._ticket = ticket

    def __call__(self) -> None:
        """Do it now."""
        work, self._work = self._work, None
        if work is not None:
            work()

    def __del__(self) -> None:
        # Nobody has closed the response, as when its client has gone.
        if self._work is not None:
            with suppress(Exception):
                self._engine.decline(self._ticket)
                step(self._engine.give_back(self._ticket))


def release(response: HttpResponseBase) -> None:
    """Close what a response holds. Not ``close()``: that would say that the request is over."""
    closers: list[Callable[[], object]] = response._resource_closers
    for closer in closers:
        with suppress(Exception):
            closer()
    closers.clear()
