"""The client: ``wrk``, and what it prints.

One thread with 32 connections, each with one request under way. So the server always has a next
request waiting and never idles, and the client, which is several times as fast as any server in
Python, needs no more than its own core.
"""

from __future__ import annotations

import math
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from ..floors import BROWSER
from ..servers import MissingError

CONNECTIONS: Final = 32
#: Seconds that an answer may take, and that wrk may need to end and to print.
_TIMEOUT, _GRACE = 5, 15.0
#: Seconds between two looks at whether it has begun.
_TICK: Final = 0.002

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_LATENCY: Final = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_DONE: Final = re.compile(r"^\s+(\d+) requests in [\d.]+\w+,", re.MULTILINE)
_RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
#: Signals for which a process has a handler, as a mask; proc(5).
_CAUGHT: Final = re.compile(r"^SigCgt:\s*([0-9a-f]+)", re.MULTILINE)
_WRONG: Final = re.compile(r"^\s+(Socket errors:.*|Non-2xx or 3xx responses:.*)$", re.MULTILINE)


class WrongAnswersError(RuntimeError):
    """A run had answers that are no 200, or connections that failed; the text has wrk's words."""


class Load(NamedTuple):
    """What one run did.

    requests: how many were answered.  per_second: the same over the time.  p50_ms, p99_ms:
    latency, in milliseconds, of a client that has 32 requests under way.  client_busy: share of
    the time for which the client had the processor; near 1, it is the client that is measured.
    """

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    client_busy: float = 0.0


def require() -> None:
    """Raise ``MissingError`` where there is no wrk."""
    if shutil.which("wrk") is None:
        raise MissingError("wrk is not installed, run: sudo apt-get install wrk")


def parse(said: str) -> Load:
    """What wrk printed with ``--latency``.

    Raises ``WrongAnswersError`` for a run with errors, or words that say nothing. A run without
    any answer has none.
    """
    if wrong := _WRONG.findall(said):
        raise WrongAnswersError("; ".join(wrong))
    done, rate = _DONE.search(said), _RATE.search(said)
    latency = {line[1]: float(line[2]) * _UNITS[line[3]] for line in _LATENCY.finditer(said)}
    if done is None or rate is None or latency.keys() != {"50", "99"}:
        raise WrongAnswersError(f"wrk answered nothing of use: {said.strip() or 'no word'}")
    return Load(int(done[1]), float(rate[1]), latency["50"], latency["99"])


def command(url: str, seconds: float, pin: Sequence[str]) -> list[str]:
    """The command line of a run that a signal may end sooner."""
    # wrk adds a Host of its own unless it finds one in these very letters.
    headers = [part for name, value in BROWSER for part in ("-H", f"{name.title()}: {value}")]
    # wrk takes whole seconds only. Interrupted, it prints what there was, over the time it had.
    bound = f"{math.ceil(seconds) + 2}s"
    return [
        *(*pin, "wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--latency"),
        *("--timeout", f"{_TIMEOUT}s", "--duration", bound, *headers, url),
    ]


def run(url: str, seconds: float, pin: Sequence[str] = ()) -> Load:
    """Load a page for so many seconds. Raises ``WrongAnswersError``."""
    before, start = _children_seconds(), monotonic()
    process = subprocess.Popen(
        command(url, seconds, pin),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _listens(process)
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=_GRACE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    load = parse(said)
    return load._replace(client_busy=(_children_seconds() - before) / (monotonic() - start))


def _listens(process: subprocess.Popen[str]) -> None:
    """Return when a signal no longer kills wrk: it is then loading, or has ended."""
    status, end = Path(f"/proc/{process.pid}/status"), monotonic() + _GRACE
    while process.poll() is None and monotonic() < end:
        caught = _CAUGHT.search(status.read_text(encoding="ascii", errors="replace"))
        if caught and int(caught[1], 16) >> (signal.SIGINT - 1) & 1:
            return
        sleep(_TICK)


def _children_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
