"""`python -m demo_app [--port 8000] [--wsgi] [--store URL] [--workers N]`: serve the demo here."""

import logging
import os
from argparse import ArgumentParser

import uvicorn
from werkzeug.serving import make_server

from demo_app import asgi, wsgi
from demo_app.caching import open_cache
from demo_app.load import ensure_database
from pagegen import ConfigError

_NEEDED = (
    "--workers needs --store with a shared store, such as lmdb://.pagegen, "
    "and does not go with --wsgi"
)


def main() -> None:
    """Serve until interrupted. A mistake in what was asked for ends it with status 2."""
    parser = _parser()
    wanted = parser.parse_args()
    if wanted.workers < 1:
        parser.error("--workers is 1 or more")
    if wanted.store:
        os.environ["DEMO_STORE"] = wanted.store
    try:
        # Asked here: of a worker that cannot start, uvicorn only starts the next one.
        if wanted.workers > 1 and (wanted.wsgi or not _store_is_shared()):
            parser.error(_NEEDED)
        if wanted.wsgi:
            _serve_wsgi(wanted.port)
        else:
            _serve_asgi(wanted.port, wanted.workers)
    except ConfigError as error:
        parser.exit(2, f"demo_app: {error}\n")


def _parser() -> ArgumentParser:
    parser = ArgumentParser("python -m demo_app", description="A catalogue, cached by pagegen.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--wsgi", action="store_true", help="the WSGI twin instead of ASGI")
    parser.add_argument("--store", help="where pages live, such as lmdb://.pagegen")
    parser.add_argument("--workers", type=int, default=1, help="processes (ASGI, a shared store)")
    return parser


def _store_is_shared() -> bool:
    cache = open_cache()
    try:
        return cache.engine.store.capabilities.shared
    finally:
        cache.close()


def _serve_asgi(port: int, workers: int) -> None:
    # Workers are processes of their own, which import the application by its name.
    app = asgi.build() if workers == 1 else "demo_app.asgi:app"
    ensure_database()
    _announce(port, f"ASGI, starlette on uvicorn, processes: {workers}")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", workers=workers)


def _serve_wsgi(port: int) -> None:
    app = wsgi.build()
    _announce(port, "WSGI, werkzeug in threads")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    make_server("127.0.0.1", port, app, threaded=True).serve_forever()


def _announce(port: int, how: str) -> None:
    address = f"http://127.0.0.1:{port}"
    print(f"\n  The catalogue         {address}/")
    print(f"  What is cached now    {address}/board")
    print(f"  ({how}; Ctrl+C ends it)\n", flush=True)


if __name__ == "__main__":
    main()
