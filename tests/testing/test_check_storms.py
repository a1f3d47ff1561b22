"""The command itself, for a while on every kind of store and with all its faults.

``PAGEGEN_CHAOS_SECONDS=60`` makes each storm last a minute, on both servers, with and without a
near store; otherwise they last 20 seconds in a covering part of these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from tests.coherence.backends import FULL, SECONDS, Kind, backend
from tests.serving import ROOT

#: Seconds of each storm.
STORM = SECONDS if FULL else 20.0
NEAR = "16MiB"
COVERING = [("lmdb", "", "uvicorn"), ("redis", NEAR, "uvicorn"), ("memcached", "", "gunicorn")]
WHOLE = list(product(("lmdb", "redis", "memcached"), ("", NEAR), ("gunicorn", "uvicorn")))
#: What is said when a store takes its time to say hello, as it may on a busy machine.
BUSY = "the store does not answer (StoreError: "
#: What must have happened at least once, by kind of store.
WORKERS = {"worker stopped", "worker killed"}
DIRECTORY = {"directory cleared", "directory cleared behind a worker", "directory spoilt"}
NETWORK = {
    f"network: {mode}" for mode in ("drop", "deaf", "hold", "delay", "truncate", "refuse")
}  # fmt: skip
FAULTS = {"lmdb": WORKERS | DIRECTORY, "redis": WORKERS | NETWORK, "memcached": WORKERS | NETWORK}

pytestmark = pytest.mark.timeout(2 * STORM + 120)


@pytest.mark.parametrize(("kind", "near", "server"), WHOLE if FULL else COVERING)
def test_all_promises_are_kept_under_all_faults(
    kind: Kind, near: str, server: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        where = []
        if kind != "lmdb":
            where = ["--store", stack.enter_context(backend(kind)).url()]
        done = subprocess.run(
            [sys.executable, "-m", "pagegen.testing.check", *where, "--near", near,
             "--server", server, "--faults", "all", "--seconds", str(STORM), "--json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    print(json.dumps(told, indent=1))
    broken = {name: said for name, said in told["promises"].items() if said["state"] == "broken"}
    assert not broken
    complaints = [line for line in done.stderr.splitlines() if not line.startswith(BUSY)]
    assert (done.returncode, told["state"], complaints) == (0, "kept", [])
    assert set(told["faults"]) >= FAULTS[kind]
    assert told["hits"] > 10 * STORM
    assert told["writes"] > STORM
    assert told["spared"], "no page was old that may be"
    assert list(tmp_path.iterdir()) == []
