"""Coding bodies: the real coders, their absence, and the bounds (RFC 9110 §8.4.1)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from importlib import import_module
from random import Random
from threading import Barrier, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen import compression
from pagegen.compression import MAX_CODED, MIN_SAVING, check, compressed
from pagegen.errors import ConfigError
from pagegen.rules import CODINGS

BODY = b"".join(b"<li><a href='/items/%d'>Item %d</a></li>\n" % (n, n) for n in range(500))
zstd: Any = compression._zstd()
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstd.decompress,
    "br": import_module("brotli").decompress,
    "gzip": gzip.decompress,
}


@pytest.fixture
def coders() -> Iterator[None]:
    """Coders that are looked for anew, and again when the test is over."""
    compression._coder.cache_clear()
    yield
    compression._coder.cache_clear()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, coders: None) -> Callable[..., None]:
    """Say which modules can be imported, by name, with what stands for them."""

    def install(**modules: Any) -> None:
        def look(name: str) -> Any:
            if (found := modules.get(name.replace(".", "_"))) is None:
                raise ImportError(f"No module named {name!r}")
            return found

        monkeypatch.setattr(compression, "import_module", look)

    return install


def failing(_body: bytes, **_options: object) -> bytes:
    """A coder that cannot."""
    raise RuntimeError("out of luck")


@pytest.mark.parametrize("coding", CODINGS)
def test_others_read_what_was_coded(coding: str) -> None:
    ((name, coded),) = compressed(BODY, (coding,))
    assert name == coding
    assert DECODERS[coding](coded) == BODY
    assert len(coded) < len(BODY) / 5


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(1, 60))
def test_any_body_comes_back_and_is_shorter_by_what_was_promised(seed: bytes, times: int) -> None:
    body = seed * times
    for coding, coded in compressed(body, CODINGS):
        assert DECODERS[coding](coded) == body
        assert len(coded) <= len(body) * (1 - MIN_SAVING)


def test_codings_come_in_the_order_of_the_rule() -> None:
    assert [name for name, _ in compressed(BODY, ("gzip", "zstd", "br"))] == ["gzip", "zstd", "br"]
    assert compressed(BODY, ()) == ()


def test_equal_bodies_become_equal_bytes() -> None:
    # A strong tag is made of them.
    assert compressed(BODY, CODINGS) == compressed(bytes(bytearray(BODY)), CODINGS)
    assert dict(compressed(BODY, ("gzip",)))["gzip"][3:8] == bytes(5)  # no flags, no time


def test_threads_do_not_disturb_each_other() -> None:
    bodies = [BODY[n:] for n in range(8)]
    found: dict[int, object] = {}
    barrier = Barrier(len(bodies))

    def work(number: int) -> None:
        barrier.wait(10)
        found[number] = compressed(bodies[number], CODINGS)

    threads = [Thread(target=work, args=(n,)) for n in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {n: compressed(body, CODINGS) for n, body in enumerate(bodies)}


def test_what_hardly_gets_shorter_is_not_kept() -> None:
    noise = Random(1).randbytes(4000)
    assert compressed(noise, CODINGS) == ()
    # A tenth of it is the least that must be saved; the frame of each format takes some bytes more.
    assert compressed(noise + bytes(400), CODINGS) == ()
    assert len(compressed(noise + bytes(600), CODINGS)) == 3


def test_a_body_over_the_bound_is_not_coded() -> None:
    assert compressed(bytes(MAX_CODED + 1), ("gzip",)) == ()
    assert len(compressed(bytes(MAX_CODED), ("gzip",))) == 1


def test_together_they_take_no_more_room_than_there_is() -> None:
    sizes = {name: len(coded) for name, coded in compressed(BODY, CODINGS)}
    asked = ("gzip", "br", "zstd")

    def kept(room: int) -> list[str]:
        return [name for name, _ in compressed(BODY, asked, room)]

    assert kept(sum(sizes.values())) == list(asked)
    assert kept(sum(sizes.values()) - 1) == ["gzip", "br"]
    assert kept(sizes["gzip"]) == ["gzip"]
    # The next one may still fit.
    assert sizes["br"] + sizes["zstd"] < sizes["gzip"]
    assert kept(sizes["br"] + sizes["zstd"]) == ["br", "zstd"]
    assert kept(0) == kept(-1) == []


def test_a_coder_that_fails_costs_its_coding_only(only: Callable[..., None]) -> None:
    only(brotli=SimpleNamespace(compress=failing))
    assert [name for name, _ in compressed(BODY, ("br", "gzip"))] == ["gzip"]


def test_what_is_installed_passes_the_check_in_its_order() -> None:
    assert check(["gzip", "zstd", "br"]) == ("gzip", "zstd", "br")
    assert check(()) == ()


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_a_missing_coder_is_told_with_its_remedy(coding: str, only: Callable[..., None]) -> None:
    only()
    with pytest.raises(ConfigError) as told:
        check(("gzip", coding))
    assert told.value.field == "compress"
    assert repr(coding) in told.value.problem
    assert "No module named" in told.value.problem
    assert told.value.remedy == "Run: pip install 'pagegen-middleware[compression]'"


def test_gzip_needs_nothing_that_must_be_installed(only: Callable[..., None]) -> None:
    only()
    assert check(("gzip",)) == ("gzip",)


@pytest.mark.parametrize("codings", [("deflate",), ("GZIP",), ("gzip", "br", "gzip")])
def test_a_coding_that_is_none_or_comes_twice_is_refused(codings: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="compress: ") as told:
        check(codings)
    assert told.value.remedy == "Choose each once among zstd, br, gzip"


def test_the_standard_library_comes_before_its_backport(only: Callable[..., None]) -> None:
    own = SimpleNamespace(compress=lambda _body, level: b"own")
    old = SimpleNamespace(compress=lambda _body, level: b"backport")
    only(compression_zstd=own, backports_zstd=old)
    assert compressed(BODY, ("zstd",)) == (("zstd", b"own"),)
    compression._coder.cache_clear()
    only(backports_zstd=old)
    assert compressed(BODY, ("zstd",)) == (("zstd", b"backport"),)


def test_a_window_is_never_larger_than_clients_must_read() -> None:
    # RFC 9659 §3: 8 MB. A frame that holds its length needs none larger than its content.
    frame = dict(compressed(bytes(range(256)) * (MAX_CODED // 256), ("zstd",)))["zstd"]
    info = zstd.get_frame_info(frame)
    assert info.decompressed_size == MAX_CODED
    options = {zstd.DecompressionParameter.window_log_max: 23}
    assert len(zstd.decompress(frame, options=options)) == MAX_CODED
