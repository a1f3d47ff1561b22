"""Runs one target under libFuzzer, in a process of its own: ``atheris`` ends its process.

Called by ``__main__``. What is left of the command line is libFuzzer's.
"""

from __future__ import annotations

import logging
import sys

import atheris


def main() -> None:
    """``driver.py TARGET [libFuzzer's options and folders]``."""
    # What comparisons of texts want is then something the fuzzer can work towards. (atheris 3.0's
    # hook for patterns does not know their positions, which tomllib and json give.)
    atheris.enabled_hooks.add("str")
    # Before pagegen is imported: its code is changed on its way in, to tell which lines ran.
    with atheris.instrument_imports(include=["pagegen", "http_sf", "tests.security.fuzz"]):
        from tests.security.fuzz.targets import target_named

        target = target_named(sys.argv[1])
    logging.disable()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


main()
