"""From settings to a store: kinds, places, missing libraries, errors that tell no secret."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagegen import ConfigError, PageCache
from pagegen.config import Settings
from pagegen.stores import MemoryStore, NearStore, open_store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from pagegen.stores.threads import Threaded


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody answers at the ports below, which is told and no mistake."""
    yield
    assert all(record.levelname == "WARNING" for record in caplog.records)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("lmdb://pages?size=8MiB", LmdbStore),
        ("memcached://127.0.0.1:1,127.0.0.1:2?timeout=20ms", MemcachedStore),
        ("redis://127.0.0.1:1/3?timeout=20ms", RedisStore),
        ("rediss://127.0.0.1:1/3", RedisStore),
    ],
)
def test_a_url_opens_its_kind_of_store_whether_or_not_somebody_answers(
    url: str, kind: type, tmp_path: Path
) -> None:
    store = open_store(Settings(store=url), directory=tmp_path)
    assert isinstance(store, kind)
    store.close()


def test_a_relative_directory_starts_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "pagegen.toml"
    file.parent.mkdir()
    file.write_text('[pagegen]\nstore = "lmdb://pages?size=8MiB"\nnear = "1MiB"\n')
    cache = PageCache.from_toml(file)
    assert (tmp_path / "conf" / "pages").is_dir()
    assert isinstance(cache.engine.store, NearStore)
    near = cache.on_loop.store
    assert isinstance(near, NearStore)
    assert isinstance(near.behind, Threaded)
    assert cache.on_loop is cache.on_loop
    cache.close()


@pytest.mark.parametrize("kind", ["lmdb", "memcached", "redis"])
def test_a_missing_library_is_named_with_the_command_that_brings_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(f"pagegen.stores.{kind}")]:
        monkeypatch.delitem(sys.modules, name)
    library = {"memcached": "pymemcache.client.base"}.get(kind, kind)
    for name in [n for n in sys.modules if n.split(".")[0] == library.split(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"pip install 'pagegen-middleware\[{kind}\]'"):
        open_store(Settings(store=f"{kind}://x"))


def test_an_unknown_kind_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"not known.*Known are memory://, lmdb://") as caught:
        open_store(Settings(store="reddis://me:hunter2@host/0"))
    assert "hunter2" not in str(caught.value)
