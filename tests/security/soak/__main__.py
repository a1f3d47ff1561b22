"""``python -m tests.security.soak --seconds 60``: all attacks at once, and people among them."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.security.soak.running import soak
from tests.security.soak.telling import broken, summary


def main() -> int:
    """Soak, print what was found, and return how many promises were broken."""
    parser = ArgumentParser("python -m tests.security.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", help="a folder for the database, the store and the logs")
    wanted = parser.parse_args()
    with TemporaryDirectory() as folder:
        kept = Path(wanted.keep or folder)
        kept.mkdir(parents=True, exist_ok=True)
        found = soak(wanted.seconds, kept, wanted.seed)
    print(summary(found))
    return min(99, len(broken(found)))


if __name__ == "__main__":
    sys.exit(main())
