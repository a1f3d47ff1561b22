"""What the figures depend on: versions of everything, and the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

from ..servers import MissingError
from .subjects import Server, Subject

#: Programs and how each says its version: in these words, with a number somewhere behind them.
_PROGRAMS: Final = {
    "wrk": ("wrk", "--version"),
    "nginx": ("nginx", "-v"),
    "Varnish": ("varnishd", "-V"),
    "memcached": ("memcached", "-V"),
    "Redis": ("redis-server", "--version"),
}
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)+")
#: Seconds that a program may take to say its version.
_PATIENCE: Final = 10


def installed(subject: Subject) -> str:
    """The version of what a subject measures. Raises ``MissingError`` where it is not installed."""
    if not subject.distribution:
        return ""
    if not subject.venv:
        try:
            return metadata.version(subject.distribution)
        except metadata.PackageNotFoundError:
            raise MissingError(f"{subject.distribution} is not installed: run make bench") from None
    python: Path | None = import_module("benchmarks.peers").interpreter(subject.venv)
    folders = python.parent.parent.glob("lib/python*/site-packages") if python else ()
    found = metadata.distributions(name=subject.distribution, path=[str(each) for each in folders])
    for distribution in found:
        return distribution.version
    raise MissingError(f"{subject.distribution} has an environment of its own: run make bench")


def versions(servers: Iterable[Server], subjects: Iterable[Subject]) -> dict[str, str]:
    """Of all that is installed of these, and of the programs."""
    names = {name for server in servers for name in server.distributions}
    found = {name: metadata.version(name) for name in sorted(names)}
    for subject in subjects:
        if subject.distribution and subject.distribution not in found:
            try:
                found[subject.distribution] = installed(subject)
            except MissingError:
                continue  # the tables say so
    return found | {name: said for name in _PROGRAMS if (said := _program(name))}


def _program(name: str) -> str:
    program, option = _PROGRAMS[name]
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return ""
    done = subprocess.run(
        [path, option], check=False, capture_output=True, text=True, timeout=_PATIENCE
    )
    number = _NUMBER.search(done.stdout + done.stderr)
    return number[0] if number else ""


def machine() -> dict[str, Any]:
    """Processor, cores that we may use, and kernel."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
