"""`python -m demo_app [--port 8000] [--wsgi]`: serve the demo on this machine."""

import logging
from argparse import ArgumentParser

import uvicorn
from werkzeug.serving import make_server

from demo_app import asgi, wsgi


def main() -> None:
    """Serve until interrupted."""
    parser = ArgumentParser("python -m demo_app", description="A catalogue, cached by pagegen.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--wsgi", action="store_true", help="the WSGI twin instead of ASGI")
    wanted = parser.parse_args()
    serve = _serve_wsgi if wanted.wsgi else _serve_asgi
    serve(wanted.port)


def _serve_asgi(port: int) -> None:
    app = asgi.build()
    _announce(port, "ASGI, starlette on uvicorn")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


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
