"""The demo as a WSGI application, in plain werkzeug: `gunicorn --threads 8 demo_app.wsgi:app`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect

from demo_app import inputs
from demo_app.board import TILES, Board
from demo_app.caching import open_cache
from demo_app.inputs import Submission
from demo_app.load import ensure_database
from demo_app.pages import HEADERS, STATIC
from demo_app.problems import Missing, Problem
from demo_app.schema import open_engine
from demo_app.site import Site
from demo_app.timing import WSGITiming
from demo_app.writing import Writer
from pagegen import PageCache, namespace
from pagegen.wsgi import PageCacheMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Application:
    """Routes and handlers. Reads come from `Site`, writes go to `Writer`, which forgets pages."""

    def __init__(self, engine: Engine, cache: PageCache) -> None:
        self._site = Site(engine)
        self._writer = Writer(engine, cache)
        self._board = Board(self._site.pages, engine)
        self._cache = cache
        get, post = partial(Rule, methods=["GET"]), partial(Rule, methods=["POST"])
        self._routes = Map([
            get("/", endpoint=self._listing),
            get("/packages/<slug>", endpoint=self._package),
            get("/users", endpoint=self._users),
            get("/users/<int:user>/favorites", endpoint=self._favourites),
            get("/submit", endpoint=self._submit_form),
            get("/board", endpoint=self._wall),
            get("/board/state", endpoint=self._wall_state),
            post("/users/<who>/favorites/<slug>", endpoint=self._favourite),
            post("/packages/<slug>/vote", endpoint=self._vote),
            post("/submit", endpoint=self._submit),
            post("/board/do", endpoint=self._do),
            post("/sign-in", endpoint=self._sign_in),
            post("/sign-out", endpoint=self._sign_out),
        ])  # fmt: skip

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Sequence[bytes] | Any":
        """WSGI."""
        request = Request(environ)
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> "WSGIApplication":
        try:
            handler, values = self._routes.bind_to_environ(request.environ).match()
            if request.method == "POST":
                inputs.same_origin(request.headers.get("Origin"), request.host)
            answer: Response = handler(request, **values)
            return answer
        except Problem as problem:
            return self._html(self._site.pages.problem(problem), problem.status)
        except NotFound:
            nothing = Missing("There is no page at this address.")
            return self._html(self._site.pages.problem(nothing), 404)
        except HTTPException as other:
            return other

    def _listing(self, request: Request) -> Response:
        return self._html(self._site.listing(request.args))

    def _package(self, _request: Request, slug: str) -> Response:
        return self._html(self._site.package(slug))

    def _users(self, _request: Request) -> Response:
        return self._html(self._site.users())

    def _favourites(self, request: Request, user: int) -> Response:
        return self._html(self._site.favourites(user, request.args))

    def _submit_form(self, _request: Request) -> Response:
        return self._html(self._site.submit())

    def _favourite(self, request: Request, who: str, slug: str) -> Response:
        return self._toggle(request, inputs.own_list(who, request.cookies), slug)

    def _toggle(self, request: Request, user: int, slug: str) -> Response:
        before = self._inspect(request)
        self._writer.toggle_favourite(user, slug)
        names = (
            namespace("user:{user}/favorites", user=user),
            namespace("package:{slug}", slug=slug),
        )
        self._board.note(f"POST /users/{user}/favorites/{slug}", names, before)
        return _back(request, f"/users/{user}/favorites")

    def _vote(self, request: Request, slug: str) -> Response:
        before = self._inspect(request)
        self._writer.vote(slug)
        names = (namespace("package:{slug}", slug=slug), "catalogue")
        self._board.note(f"POST /packages/{slug}/vote", names, before)
        return _back(request, f"/packages/{slug}")

    def _submit(self, request: Request) -> Response:
        return self._add(request, inputs.submission(request.form))

    def _add(self, request: Request, wanted: Submission) -> Response:
        before = self._inspect(request)
        form = self._writer.submit(wanted)
        if form.errors:
            return self._html(self._site.submit(form), 422)
        self._board.note("POST /submit", ["catalogue"], before)
        return _back(request, f"/packages/{form.slug}")

    def _sign_in(self, request: Request) -> Response:
        user = self._site.catalogue.user(inputs.chosen_user(request.form))
        response = _back(request, f"/users/{user.id}/favorites")
        # The pages' script reads it, because cached pages are the same for everybody.
        response.set_cookie(inputs.COOKIE, str(user.id), samesite="Lax")
        response.set_cookie(inputs.NAME_COOKIE, user.name, samesite="Lax")
        return response

    def _sign_out(self, request: Request) -> Response:
        response = _back(request, "/")
        for cookie in (inputs.COOKIE, inputs.NAME_COOKIE):
            response.delete_cookie(cookie, samesite="Lax")
        return response

    def _wall(self, request: Request) -> Response:
        return self._html(self._board.page(self._inspect(request)))

    def _wall_state(self, request: Request) -> Response:
        state = json.dumps(self._board.state(self._inspect(request)))
        return Response(state, mimetype="application/json", headers={"Cache-Control": "no-store"})

    def _do(self, request: Request) -> Response:
        if request.form.get("add") == "sample":
            return self._add(request, inputs.sample())
        user, slug = inputs.board_favourite(request.form)
        return self._toggle(request, user, slug)

    def _inspect(self, request: Request) -> list[Any]:
        inspect, host = self._cache.inspect, request.host
        return [inspect(tile.path, query=tile.query, host=host) for tile in TILES]

    @staticmethod
    def _html(body: str, status: int = 200) -> Response:
        return Response(body, status, HEADERS, mimetype="text/html")


def _back(request: Request, default: str) -> Response:
    return redirect(inputs.local_path(request.form.get("next"), default), 303)


def build_app(cache: PageCache) -> "WSGIApplication":
    """The bare application; `cache` is only told what to forget."""
    application = Application(open_engine(ensure_database()), cache)
    return SharedDataMiddleware(application, {"/static": str(STATIC)})


def build() -> "WSGIApplication":
    """The whole demo: the application, pagegen around it, and the stopwatch around both."""
    cache = open_cache()
    return WSGITiming(PageCacheMiddleware(build_app(cache), cache=cache))


def __getattr__(name: str) -> Callable[..., Any]:
    # `app` is built when a server asks for it: importing this module alone loads no database.
    if name not in ("app", "application"):
        raise AttributeError(name)
    app = build()
    globals().update(app=app, application=app)
    return app
