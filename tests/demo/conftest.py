"""The two demo applications in this process, each over a database file of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine
from werkzeug.middleware.shared_data import SharedDataMiddleware

from demo_app import asgi, wsgi
from demo_app.caching import open_cache
from demo_app.pages import STATIC
from demo_app.schema import open_engine
from demo_app.timing import ASGITiming, WSGITiming
from pagegen.asgi import PageCacheMiddleware as AsgiMiddleware
from pagegen.testing import Answer, Front, Loop, call_asgi, call_wsgi, environ, scope
from pagegen.wsgi import PageCacheMiddleware as WsgiMiddleware
from tests.serving import load_database

# What may differ between two renderings of one page: when, and how long it took.
_TIMES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r'(?<=data-rendered=")[0-9.]+',
        r"(?<=data-age>at )[0-9:]+",
        r"(?<=data-cost>)[0-9.]+",
        r"(?<=<time>)[0-9:]+",
        r"(?<=data-age>)[0-9]+(?= s<)",
    )
)


def timeless(html: str) -> str:
    """The page without what depends on the moment of its rendering."""
    for pattern in _TIMES:
        html = pattern.sub("…", html)
    return html


class Demo:
    """One demo application, whole (behind its cache) and bare (without one)."""

    def __init__(self, front: Front, engine: Engine) -> None:
        self.front = front
        self.cache = open_cache()
        self._loop: Loop | None = None
        if front == "asgi":
            self._loop = Loop()
            self.bare: Any = asgi.Handlers(engine, self.cache).application()
            self.whole: Any = ASGITiming(AsgiMiddleware(self.bare, cache=self.cache))
        else:
            application = wsgi.Application(engine, self.cache)
            self.bare = SharedDataMiddleware(application, {"/static": str(STATIC)})
            self.whole = WSGITiming(WsgiMiddleware(self.bare, cache=self.cache))

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        *,
        app: Any = None,
    ) -> Answer:
        """One request to the whole application, or to the one given."""
        fields, body = dict(fields or {}), b""
        if form is not None:
            body = urlencode(form).encode()
            fields["content-type"] = "application/x-www-form-urlencoded"
        if self._loop is None:
            return call_wsgi(app or self.whole, environ(method, target, fields, body))
        made = scope(method, target, fields, body)
        return self._loop.run(call_asgi(app or self.whole, made, body))

    def get(self, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """A GET."""
        return self.request("GET", target, fields)

    def post(
        self, target: str, form: Mapping[str, str] | None = None, *, by: int | None = None
    ) -> Answer:
        """A POST of a form by a user who is signed in, or by nobody."""
        fields = {} if by is None else {"cookie": f"demo_user={by}"}
        return self.request("POST", target, fields, {"sent": "1", **(form or {})})

    def traces(self, *targets: str) -> list[str]:
        """What the cache decided about a GET of each target, one after the other."""
        return [self.get(target).trace for target in targets]

    def warm(self, *targets: str) -> None:
        """See to it that all these pages are cached."""
        for target in targets:
            assert self.get(target).status == 200, target
        assert self.traces(*targets) == ["hit"] * len(targets)

    def close(self) -> None:
        """End the event loop and the store."""
        if self._loop is not None:
            self._loop.close()
        self.cache.close()


@contextmanager
def running(front: Front, database: Path) -> Iterator[Demo]:
    """A demo over this database file, which it may change."""
    engine = open_engine(database)
    demo = Demo(front, engine)
    try:
        yield demo
    finally:
        demo.close()
        engine.dispose()


MakeDemo = Callable[[Front], Demo]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly loaded database, to be copied."""
    return load_database(tmp_path_factory)


@pytest.fixture
def demo(front: Front, database: Path, tmp_path: Path) -> Iterator[Demo]:
    """A demo for a test that writes."""
    with running(front, Path(shutil.copy(database, tmp_path / "demo.sqlite"))) as made:
        yield made


@pytest.fixture(scope="module")
def readers(
    database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Front, Demo]]:
    """Both demos, for tests that write nothing: shared by all of a module."""
    folder = tmp_path_factory.mktemp("readers")
    with (
        running("wsgi", Path(shutil.copy(database, folder / "wsgi.sqlite"))) as one,
        running("asgi", Path(shutil.copy(database, folder / "asgi.sqlite"))) as two,
    ):
        yield {"wsgi": one, "asgi": two}


@pytest.fixture
def reader(front: Front, readers: Mapping[Front, Demo]) -> Demo:
    """A demo for a test that writes nothing."""
    return readers[front]
