"""Flask: an extension in the usual form, for one application or for many.

::

    pages = FlaskPageCache()

    def create_app():
        app = Flask(__name__)
        app.config["PAGEGEN"] = "pagegen.toml"
        pages.init_app(app)
        return app
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flask import Flask, current_app

from ..cache import PageCache
from ..config import from_table
from ..errors import ConfigError
from ..verdicts import Invalidation
from ..wsgi import PageCacheMiddleware

#: What the extension is called in ``app.extensions``.
KEY: Final = "pagegen"


class FlaskPageCache:
    """A page cache for each application that it is given to.

    ``cache``: one that is built already, for all of them. Without it each application's own
    configuration says which: ``PAGEGEN`` is the path of a TOML file, relative to the application's
    root path, or a table of the same shape. ``PAGEGEN_ENABLED = False`` leaves the application
    unwrapped, for tests of it alone; what it forgets is forgotten all the same.
    """

    def __init__(self, app: Flask | None = None, *, cache: PageCache | None = None) -> None:
        self._given = cache
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Wrap an application. Raises ``ConfigError``, and ``RuntimeError`` for a second time."""
        if KEY in app.extensions:
            raise RuntimeError(
                f"{app!r} has a page cache already. Call init_app once for each application"
            )
        app.config.setdefault("PAGEGEN_ENABLED", True)
        cache = self._given or _configured(app)
        app.extensions[KEY] = cache
        if app.config["PAGEGEN_ENABLED"]:
            app.wsgi_app = PageCacheMiddleware(  # type: ignore[method-assign]
                app.wsgi_app, cache=cache
            )

    @property
    def cache(self) -> PageCache:
        """The cache of the current application; raises ``RuntimeError`` where there is none."""
        cache: PageCache | None = current_app.extensions.get(KEY)
        if cache is None:
            raise RuntimeError(
                f"{current_app.name!r} has no page cache. Call init_app(app) where it is made"
            )
        return cache

    def invalidate(self, *names: str, soft: bool = False) -> Invalidation:
        """:meth:`pagegen.PageCache.invalidate` of the current application's cache."""
        return self.cache.invalidate(*names, soft=soft)

    def tag(self, *names: str) -> None:
        """:meth:`pagegen.PageCache.tag` of the current application's cache."""
        self.cache.tag(*names)


def _configured(app: Flask) -> PageCache:
    """The cache that an application's configuration asks for; raises ``ConfigError``."""
    given = app.config.get("PAGEGEN")
    if isinstance(given, (str, os.PathLike)) and given:
        return PageCache.from_toml(Path(app.root_path) / given)
    if isinstance(given, Mapping):
        where = 'app.config["PAGEGEN"]'
        try:
            return PageCache.from_configuration(from_table(given, Path(app.root_path)))
        except ConfigError as error:
            raise error.at(file=where) from None
    raise ConfigError(
        "says neither a file nor a table" if given is not None else "is not set",
        'Set app.config["PAGEGEN"] to the path of a TOML file or to a table of the same shape, or '
        "build a cache and give it: FlaskPageCache(cache=PageCache(...))",
        field="PAGEGEN",
        where="app.config",
    )
