"""Passwords of stores and keys of sites: in no ``repr``, no error, no line of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.config import Settings
from pagegen.debugging import Debugger
from pagegen.stores.codec import Codec
from pagegen.stores.keyring import Keyring
from pagegen.stores.names import Names
from pagegen.wrote import Wrote
from tests.security.silence import listening

SECRET = "hunter2-SECRET-hunter2"
#: The longest piece of it that may be anywhere: parsers cut texts in two.
PIECES = ("hunter2", "SECRET")
#: Right and wrong, since an error about a URL is where it is shown.
URLS = [
    f"redis://ada:{SECRET}@127.0.0.1:1/0",
    f"redis://:{SECRET}@127.0.0.1:1/0",
    f"redis://{SECRET}@127.0.0.1:1/0",
    f"redis://ada:{SECRET}@127.0.0.1:{SECRET}/0",
    f"redis://ada:a@{SECRET}@127.0.0.1:1/0",
    f"redis://ada:{SECRET}@",
    f"redis://ada:{SECRET}@127.0.0.1:1/0?pool=none",
    f"redis://ada:{SECRET}@127.0.0.1:1/0?pool=2&pool=2",
    f"redis://ada:{SECRET}@127.0.0.1:1/0?unknown=1",
    f"redis://127.0.0.1:1/0?password={SECRET}",
    f"redis://127.0.0.1:1/0?PASSWD={SECRET}&unknown=1",
    f"redis://ada:{SECRET}%zz@127.0.0.1:1/0/1/2",
    f"redis://ada:{SECRET}@[::1/0",
    f"rediss://ada:{SECRET}@127.0.0.1:1/0?ca=/nowhere",
    f"redis+unix://ada:{SECRET}@/run/nowhere.sock?db=x",
    f"memcached://ada:{SECRET}@127.0.0.1:1",
    f"memcached://127.0.0.1:1?password={SECRET}",
    f"lmdb://ada:{SECRET}@here",
    f"memory://ada:{SECRET}@",
    f"memory://?token={SECRET}",
    f"unknown://ada:{SECRET}@host",
    f"redis:ada:{SECRET}@host",
    f"REDIS://ada:{SECRET}@host",
    f"//ada:{SECRET}@host",
]
RULE = Rule(path="/", share="public", ttl=60, namespaces=["page"], soft=True, swr=9)


def shown(text: str) -> bool:
    return any(piece.lower() in text.lower() for piece in PIECES)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("url", URLS)
def test_a_stores_password_is_shown_nowhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with listening() as said:
        try:
            cache = PageCache([RULE], store=url, site_key="k" * 16)
        except ConfigError as error:
            for each in chain(error):
                assert not shown(f"{each} {each!r}")
        else:
            with suppress(Exception):
                cache.invalidate("page")
            things = (cache, cache.configuration, cache.configuration.settings, cache.engine)
            for thing in (*things, cache.engine.store):
                assert not shown(repr(thing))
            cache.close()
    assert not shown("\n".join(said))


def made() -> list[Any]:
    ring = Keyring((SECRET,), SECRET)
    settings = Settings(site_key=[SECRET, "k" * 16], names_key=SECRET, store=URLS[0])
    cache = PageCache([RULE], site_key=SECRET)
    things: list[Any] = [ring, settings, cache.configuration, cache.engine, cache.engine._state]
    things += [Debugger(SECRET, lambda: 0.0), Wrote(SECRET, window=9.0), Names("a", ring)]
    things += [Codec(ring)]
    return things


@pytest.mark.parametrize("number", range(len(made())))
def test_a_site_key_is_in_no_repr(number: int) -> None:
    thing = made()[number]
    assert not shown(f"{thing!r} {thing!s}")


WRONG: list[dict[str, Any]] = [
    {"site_key": "SECRET"},
    {"site_key": [SECRET, SECRET]},
    {"site_key": [SECRET, "SECRET"], "names_key": SECRET},
    {"site_key": [SECRET] * 9},
    {"site_key": [SECRET, "k" * 16]},
    {"site_key": {SECRET: 1}},
    {"site_key": [SECRET, 7]},
    {"site_key": SECRET.encode()},
    {"names_key": SECRET},
    {"site_key": SECRET, "names_key": "SECRET"},
    {"site_key": SECRET, "names_key": [SECRET]},
    {"site_key": SECRET, "encrypt": "some"},
    {"site_key": "env:HUNTER"},
]


@pytest.mark.parametrize("given", WRONG, ids=",".join)
def test_an_error_about_a_key_does_not_tell_it(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTER", "hunter2")
    with pytest.raises(ConfigError) as caught:
        PageCache([RULE], **given)
    assert not any(shown(f"{each} {each!r}") for each in chain(caught.value))


@pytest.mark.parametrize(
    "line",
    [
        'site_key = "{}',
        "site_key = {}",
        'site_key = "{}" "',
        'site_key = "{}"\nsite_key = "{}"',
        'site_key = ["{}", ',
        'site_key == "{}"',
        'site_keys = "{}"',
        'store = ["redis://ada:{}@host"]',
        'store = "{}\\q"',
    ],
)
def test_an_error_about_the_file_does_not_tell_it(line: str, tmp_path: Path) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text("[pagegen]\n" + line.replace("{}", SECRET) + "\n")
    with pytest.raises(ConfigError) as caught:
        PageCache.from_toml(file)
    assert not any(shown(f"{each} {each!r}") for each in chain(caught.value))


def test_a_whole_file_in_the_wrong_form_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "pagegen.toml"
    for text in (f'pagegen = "{SECRET}"', f'[[pagegen]]\nsite_key = "{SECRET}"', f'"{SECRET}'):
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            PageCache.from_toml(file)
        assert not any(shown(f"{each} {each!r}") for each in chain(caught.value))


def test_the_words_are_found_where_they_are() -> None:
    assert shown(f"x{SECRET}x") and shown("hunter2") and not shown("…")
    with listening() as said:
        logging.getLogger("pagegen").warning("%s", SECRET)
    assert shown(said[0])
