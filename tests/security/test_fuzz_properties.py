"""Every target with inputs that Hypothesis makes: the same ones for everybody, a few of each.

Half of them are made of the target's own words, half are what its corpus holds with a piece of it
taken out, doubled or replaced. ``PAGEGEN_FUZZ_EXAMPLES`` asks for more.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.fuzz.targets import Target, all_targets

TARGETS: Final = all_targets()
EXAMPLES: Final = int(os.environ.get("PAGEGEN_FUZZ_EXAMPLES", "40"))


def _of_words(target: Target) -> st.SearchStrategy[bytes]:
    words = [word.encode("latin-1", "replace") for word in target.words]
    piece = st.sampled_from([*words, b"\n", b"\n\n"]) | st.binary(max_size=6)
    return st.lists(piece, max_size=12).map(b"".join)


def _of_corpus(target: Target) -> st.SearchStrategy[bytes]:
    kept = [file.read_bytes() for file in sorted(target.corpus.iterdir())]

    def changed(whole: bytes, first: int, second: int, more: bytes) -> bytes:
        start, stop = sorted((first % (len(whole) + 1), second % (len(whole) + 1)))
        return whole[:start] + more + whole[stop:]

    place = st.integers(0, 2**16)
    more = _of_words(target).map(lambda words: words[:40])
    return st.builds(changed, st.sampled_from(kept), place, place, more)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_input_breaks_a_promise(target: Target) -> None:
    @settings(max_examples=EXAMPLES, database=None)
    @given(_of_words(target) | _of_corpus(target))
    def tried(data: bytes) -> None:
        target(data)

    tried()
