"""``python -m pagegen.contrib.outbox``: applies what workers left in the outbox.

Exit status: 0 ended by SIGTERM, or with ``--once`` all applied; 1 with ``--once`` the store or the
database failed; 2 a mistake in what was asked for.
"""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from ...cache import PageCache
from ...errors import ConfigError
from .supervising import MISTAKE, supervise
from .sweeper import Sweeper


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Sweep; raises ``SystemExit``."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        cache = PageCache.from_toml(wanted.config)
        sweeper = Sweeper(
            cache, wanted.url, every=wanted.every, grace=wanted.grace, batch=wanted.batch
        )
    except (ConfigError, TypeError, ImportError, OSError) as error:
        parser.exit(MISTAKE, f"{parser.prog}: {error}\n")
    try:
        code = supervise(sweeper, once=wanted.once, json=wanted.json)
    finally:
        cache.close()
    sys.exit(code)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m pagegen.contrib.outbox", description=__doc__)
    parser.add_argument("--config", required=True, help="the cache's TOML file")
    parser.add_argument("--url", required=True, help="sqlite:///app.db, postgresql://…")
    parser.add_argument("--once", action="store_true", help="one round, then end")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each round")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two rounds")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds that rows are left alone")
    parser.add_argument("--batch", type=int, default=500, help="rows at once")
    return parser


if __name__ == "__main__":
    main()
