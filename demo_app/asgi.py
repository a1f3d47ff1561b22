"""The demo as an ASGI application, in starlette: `uvicorn demo_app.asgi:app`."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from demo_app import inputs
from demo_app.board import TILES, Board
from demo_app.caching import open_cache
from demo_app.inputs import Fields, Submission
from demo_app.load import ensure_database
from demo_app.pages import HEADERS, STATIC
from demo_app.problems import Missing, Problem
from demo_app.schema import open_engine
from demo_app.site import Site
from demo_app.timing import ASGITiming
from demo_app.writing import Writer
from pagegen import PageCache, namespace
from pagegen.asgi import PageCacheMiddleware

Write = Callable[[Request, Fields], Awaitable[Response]]


class Handlers:
    """Routes and handlers. Reads come from `Site`, writes go to `Writer`, which forgets pages.

    Handlers that read are plain functions: starlette runs them in threads, off the event loop.
    """

    def __init__(self, engine: Engine, cache: PageCache) -> None:
        self._site = Site(engine)
        self._writer = Writer(engine, cache)
        self._board = Board(self._site.pages, engine)
        self._cache = cache

    def application(self) -> Starlette:
        """The routes, and the page for what goes wrong."""
        get = [
            Route("/", self._listing),
            Route("/packages/{slug}", self._package),
            Route("/users", self._users),
            Route("/users/{user:int}/favorites", self._favourites),
            Route("/submit", self._submit_form),
            Route("/board", self._wall),
            Route("/board/state", self._wall_state),
        ]
        post = [
            _post("/users/{who}/favorites/{slug}", self._favourite),
            _post("/packages/{slug}/vote", self._vote),
            _post("/submit", self._submit),
            _post("/board/do", self._do),
            _post("/sign-in", self._sign_in),
            _post("/sign-out", self._sign_out),
        ]
        static = Mount("/static", StaticFiles(directory=STATIC))
        return Starlette(
            routes=[*get, *post, static],
            exception_handlers={Problem: self._problem, HTTPException: self._http},
        )

    def _listing(self, request: Request) -> Response:
        return _html(self._site.listing(request.query_params))

    def _package(self, request: Request) -> Response:
        return _html(self._site.package(request.path_params["slug"]))

    def _users(self, _request: Request) -> Response:
        return _html(self._site.users())

    def _favourites(self, request: Request) -> Response:
        user: int = request.path_params["user"]
        return _html(self._site.favourites(user, request.query_params))

    def _submit_form(self, _request: Request) -> Response:
        return _html(self._site.submit())

    async def _favourite(self, request: Request, form: Fields) -> Response:
        me = inputs.own_list(request.path_params["who"], request.cookies)
        return await self._toggle(request, form, me, request.path_params["slug"])

    async def _toggle(self, request: Request, form: Fields, user: int, slug: str) -> Response:
        before = await self._inspect(request)
        await run_in_threadpool(self._writer.toggle_favourite, user, slug)
        names = (
            namespace("user:{user}/favorites", user=user),
            namespace("package:{slug}", slug=slug),
        )
        what = f"POST /users/{user}/favorites/{slug}"
        await run_in_threadpool(self._board.note, what, names, before)
        return _back(form, f"/users/{user}/favorites")

    async def _vote(self, request: Request, form: Fields) -> Response:
        slug = request.path_params["slug"]
        before = await self._inspect(request)
        await run_in_threadpool(self._writer.vote, slug)
        names = (namespace("package:{slug}", slug=slug), "catalogue")
        what = f"POST /packages/{slug}/vote"
        await run_in_threadpool(self._board.note, what, names, before)
        return _back(form, f"/packages/{slug}")

    async def _submit(self, request: Request, form: Fields) -> Response:
        return await self._add(request, form, inputs.submission(form))

    async def _add(self, request: Request, form: Fields, wanted: Submission) -> Response:
        before = await self._inspect(request)
        checked = await run_in_threadpool(self._writer.submit, wanted)
        if checked.errors:
            page = await run_in_threadpool(self._site.submit, checked)
            return _html(page, 422)
        await run_in_threadpool(self._board.note, "POST /submit", ["catalogue"], before)
        return _back(form, f"/packages/{checked.slug}")

    async def _sign_in(self, _request: Request, form: Fields) -> Response:
        user = await run_in_threadpool(self._site.catalogue.user, inputs.chosen_user(form))
        response = _back(form, f"/users/{user.id}/favorites")
        # The pages' script reads it, because cached pages are the same for everybody.
        response.set_cookie(inputs.COOKIE, str(user.id), samesite="lax")
        response.set_cookie(inputs.NAME_COOKIE, user.name, samesite="lax")
        return response

    async def _sign_out(self, _request: Request, form: Fields) -> Response:
        response = _back(form, "/")
        for cookie in (inputs.COOKIE, inputs.NAME_COOKIE):
            response.delete_cookie(cookie, samesite="lax")
        return response

    async def _wall(self, request: Request) -> Response:
        seen = await self._inspect(request)
        return _html(await run_in_threadpool(self._board.page, seen))

    async def _wall_state(self, request: Request) -> Response:
        state = await run_in_threadpool(self._board.state, await self._inspect(request))
        return JSONResponse(state, headers={"Cache-Control": "no-store"})

    async def _do(self, request: Request, form: Fields) -> Response:
        if form.get("add") == "sample":
            return await self._add(request, form, inputs.sample())
        user, slug = inputs.board_favourite(form)
        return await self._toggle(request, form, user, slug)

    async def _inspect(self, request: Request) -> list[Any]:
        inspect, host = self._cache.ainspect, request.headers.get("host", "")
        return [await inspect(tile.path, query=tile.query, host=host) for tile in TILES]

    def _problem(self, _request: Request, problem: Any) -> Response:
        return _html(self._site.pages.problem(problem), problem.status)

    def _http(self, request: Request, error: Any) -> Response:
        if error.status_code == Missing.status:
            return self._problem(request, Missing("There is no page at this address."))
        return Response(error.detail, error.status_code, error.headers, "text/plain")


def _post(path: str, handler: Write) -> Route:
    """A route whose handler gets the form, after a look at where the form came from."""

    async def endpoint(request: Request) -> Response:
        inputs.same_origin(request.headers.get("origin"), request.headers.get("host", ""))
        async with request.form() as sent:
            form = {name: value for name, value in sent.items() if isinstance(value, str)}
        return await handler(request, form)

    return Route(path, endpoint, methods=["POST"])


def _html(body: str, status: int = 200) -> Response:
    return HTMLResponse(body, status, HEADERS)


def _back(form: Fields, default: str) -> Response:
    return RedirectResponse(inputs.local_path(form.get("next"), default), 303)


def build_app(cache: PageCache) -> ASGIApp:
    """The bare application; `cache` is only told what to forget."""
    return Handlers(open_engine(ensure_database()), cache).application()


def build() -> ASGIApp:
    """The whole demo: the application, pagegen around it, and the stopwatch around both."""
    cache = open_cache()
    return ASGITiming(PageCacheMiddleware(build_app(cache), cache=cache))


def __getattr__(name: str) -> ASGIApp:
    # `app` is built when a server asks for it: importing this module alone loads no database.
    if name != "app":
        raise AttributeError(name)
    app = build()
    globals().update(app=app)
    return app
