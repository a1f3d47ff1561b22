"""``python -m pagegen.testing.proxy ORIGIN``: pagegen in front of any origin server.

Without ``--config`` it is a plain shared cache (RFC 9111) of everything. Exit status: 0 when
interrupted, 1 when the port is not to be had, 2 for a mistake in what was asked for.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NoReturn, TypeAlias

from ... import asgi, config, wsgi
from ...cache import PageCache
from ...config import Configuration, Settings
from ...errors import PagegenError
from ...rulebook import RuleBook
from ...rules import Rule
from . import GatewayErrors, ReverseProxy, WSGIGatewayErrors, WSGIReverseProxy

try:
    import uvicorn
    from werkzeug.serving import WSGIRequestHandler, make_server
except ImportError as error:  # pragma: no cover - the tests' environment has them
    raise ImportError(
        "this command needs uvicorn and werkzeug: pip install 'pagegen-middleware[proxy]'"
    ) from error

Serve: TypeAlias = Callable[[socket.socket], None]

#: Connections that may wait to be accepted (uvicorn, gunicorn: 2048).
BACKLOG: Final = 2048
#: Seconds for requests under way when the proxy ends.
GRACE: Final = 5


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve until interrupted; raises ``SystemExit``."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    try:
        build = _wsgi_server if wanted.wsgi else _asgi_server
        cache, serve = build(wanted)
    except (PagegenError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    try:
        with _listening(wanted, parser) as place:
            serve(place)
    except KeyboardInterrupt:
        pass
    finally:
        cache.close()
    parser.exit(0)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m pagegen.testing.proxy", description="pagegen in front of an origin server."
    )
    parser.add_argument("origin", metavar="ORIGIN", help="such as http://127.0.0.1:9000")
    parser.add_argument("--config", help="rules; without, a shared cache of everything")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free")
    parser.add_argument("--wsgi", action="store_true", help="the WSGI twin instead of ASGI")
    parser.add_argument("--store", help="where pages live, such as lmdb://.pagegen")
    parser.add_argument("--cache-status", action="store_true", help="say what the cache did")
    parser.add_argument("--json", action="store_true", help="tell as JSON where it listens")
    return parser


def _cache(wanted: Namespace) -> PageCache:
    if wanted.config:
        found = config.load(wanted.config)
    else:
        found = Configuration(Settings(), RuleBook((Rule(path="/**", share="public"),)))
    settings = found.settings
    if settings.date == "auto":
        settings = replace(settings, date="send")  # our servers add none
    if wanted.store:
        settings = replace(settings, store=wanted.store)
    if wanted.cache_status:
        settings = replace(settings, cache_status=True)
    return PageCache.from_configuration(replace(found, settings=settings))


def _asgi_server(wanted: Namespace) -> tuple[PageCache, Serve]:
    proxy, cache = ReverseProxy(wanted.origin), _cache(wanted)
    # Date and Server are the origin's own.
    settings = uvicorn.Config(
        GatewayErrors(asgi.PageCacheMiddleware(proxy, cache=cache)),
        log_level="warning",
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    return cache, lambda place: uvicorn.Server(settings).run(sockets=[place])


class _Handler(WSGIRequestHandler):
    """Adds neither ``Date`` nor ``Server``: the origin's own are passed on."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """The status line alone."""
        self.log_request(code)
        self.send_response_only(code, message)


def _wsgi_server(wanted: Namespace) -> tuple[PageCache, Serve]:
    proxy, cache = WSGIReverseProxy(wanted.origin), _cache(wanted)
    app = WSGIGatewayErrors(wsgi.PageCacheMiddleware(proxy, cache=cache))
    logging.getLogger("werkzeug").setLevel(logging.WARNING)

    def serve(place: socket.socket) -> None:
        host, port = place.getsockname()[:2]
        make_server(
            host, port, app, threaded=True, request_handler=_Handler, fd=place.fileno()
        ).serve_forever()

    return cache, serve


def _listening(wanted: Namespace, parser: ArgumentParser) -> socket.socket:
    """A socket that listens where it was asked for; exits with 1 if it cannot be had."""
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    try:
        place = socket.create_server((wanted.host, wanted.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        parser.exit(1, f"{parser.prog}: cannot listen on {wanted.host}:{wanted.port}: {error}\n")
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    url = f"http://{host}:{place.getsockname()[1]}"
    told = {"url": url, "origin": wanted.origin, "front": "wsgi" if wanted.wsgi else "asgi"}
    text = f"pagegen listens on {url} in front of {wanted.origin} (Ctrl+C ends it)"
    sys.stdout.write(json.dumps(told) + "\n" if wanted.json else f"{text}\n")
    sys.stdout.flush()
    return place


if __name__ == "__main__":
    main()
