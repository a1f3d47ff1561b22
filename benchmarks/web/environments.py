"""``python -m benchmarks.web.environments``: environments for peers that cannot share ours.

Some want other releases than pagegen's own extras. For each file of requirements in
``benchmarks/peers`` there is one, made anew when the file has changed. What cannot be installed is
said, and missing in the tables; nothing else stops for it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from ..peers import PEERS, ROOT

#: Beside the interpreter: the requirements that were installed.
_STAMP: Final = "installed.txt"


def make(name: str) -> bool:
    """Make the environment of this name, unless it is there; whether it is."""
    folder = ROOT / f".venv-bench-{name}"
    wanted = Path(__file__).parents[1] / "peers" / f"{name}.txt"
    stamp = folder / _STAMP
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return True
    print(f"Installing what {name} is measured with …", flush=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "--disable-pip-version-check", "--requirement", str(wanted)],
    ):
        if subprocess.run(command, check=False).returncode:
            print(f"{name}: cannot be installed, and will be missing in the tables")
            return False
    stamp.write_bytes(wanted.read_bytes())
    return True


def main() -> None:
    """Make all that the peers name."""
    for name in sorted({peer.venv for peer in PEERS if peer.venv}):
        make(name)


if __name__ == "__main__":
    main()
