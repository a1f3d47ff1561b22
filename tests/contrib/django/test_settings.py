"""The settings in each of their forms, and the one cache that is built from them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.test import override_settings

from pagegen import ConfigError, Invalidation, PageCache
from pagegen.contrib.django import DjangoPageCache, cache, caches, get_cache
from pagegen.contrib.django.conf import Options, options, written
from pagegen.testing import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.conftest import Settings
from tests.contrib.django.site import TABLE

RULE = {"path": "/items/{item}", "share": "public", "ttl": "1h"}


def test_a_table_in_the_settings_is_the_configuration(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={"rule": [RULE], "django": {"outbox": True, "unseen_writes": "raise"}})
    built = get_cache()
    assert [rule.path for rule in built.configuration.book.rules] == ["/items/{item}"]
    assert built.options == Options(outbox=True, unseen_writes="raise")


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_found_below_the_base_directory(
    pagegen_settings: Settings, tmp_path: Path, relative: bool, kind: Any
) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text('[[rule]]\npath = "/x"\nshare = "public"\nttl = 60\n')
    pagegen_settings(
        BASE_DIR=tmp_path,
        PAGEGEN=kind("pagegen.toml" if relative else file),
        PAGEGEN_DJANGO={"carry": ["site"]},
    )
    assert [rule.path for rule in get_cache().configuration.book.rules] == ["/x"]
    assert get_cache().options.carry == ("site",)


def test_a_store_in_a_table_is_relative_to_the_base_directory(
    pagegen_settings: Settings, tmp_path: Path
) -> None:
    pagegen_settings(BASE_DIR=tmp_path, PAGEGEN={"pagegen": {"store": "lmdb://pages"}})
    assert written().directory == tmp_path
    get_cache()
    assert (tmp_path / "pages").is_dir()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PAGEGEN": {"rules": []}}, "settings.PAGEGEN: rules: unknown key 'rules'"),
        ({"PAGEGEN": 7}, "settings.PAGEGEN: 7 is neither a table nor a file"),
        ({"PAGEGEN": ""}, "settings.PAGEGEN: '' is neither"),
        ({"PAGEGEN": "missing.toml"}, "missing.toml: cannot be read"),
        ({"PAGEGEN": {"django": 7}}, "7 is no table"),
        ({"PAGEGEN": {"django": {"outboxes": True}}}, "Did you mean 'outbox'"),
        ({"PAGEGEN": {"django": {"outbox": 1}}}, 'PAGEGEN["django"]: outbox: is no switch'),
        ({"PAGEGEN": {"django": {"unseen_writes": "no"}}}, "'no' is no choice"),
        ({"PAGEGEN": {"django": {"carry": "site"}}}, "'site' is no list"),
        ({"PAGEGEN": {"django": {"carry": ["a b"]}}}, "'a b' is no attribute"),
        ({"PAGEGEN": {"django": {"carry": ["user"]}}}, "request.user is each visitor's own"),
        ({"PAGEGEN": {"django": {}}, "PAGEGEN_DJANGO": {}}, "is said twice"),
        ({"PAGEGEN_DJANGO": {"carry": [7]}}, "settings.PAGEGEN_DJANGO: carry: 7 is no attribute"),
    ],
)
def test_each_mistake_is_named(
    pagegen_settings: Settings, settings: dict[str, Any], said: str
) -> None:
    pagegen_settings(**settings)
    with pytest.raises(ConfigError) as caught:
        get_cache()
    assert said in str(caught.value)


def test_a_mistake_stops_the_start_of_the_application(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={"rule": [{"path": "x"}]})
    with pytest.raises(ConfigError, match=r'rule "x"'):
        get_wsgi_application()


def test_one_cache_is_built_whoever_asks_first() -> None:
    barrier = Barrier(8)

    def ask(_: int) -> PageCache:
        barrier.wait(20)
        return get_cache()

    with ThreadPoolExecutor(8) as pool:
        assert len({id(found) for found in pool.map(ask, range(8))}) == 1


def test_other_settings_build_another_cache() -> None:
    before = get_cache()
    with override_settings(PAGEGEN={"rule": [RULE]}):
        assert get_cache() is not before
        assert cache.configuration.book.rules
    assert not cache.configuration.book.rules
    with override_settings(DEBUG=True):
        assert get_cache() is get_cache()


def test_the_name_to_import_stands_for_the_cache() -> None:
    assert isinstance(cache, DjangoPageCache)
    assert isinstance(cache, PageCache)
    assert cache.engine is get_cache().engine
    assert cache.invalidate("item:7").namespaces == ("item:7",)
    assert "pagegen" in repr(cache)


def test_a_coroutine_sees_the_transaction_that_it_is_called_in() -> None:
    forget = async_to_sync(cache.ainvalidate)
    assert forget("item:7") == Invalidation(("item:7",))
    with transaction.atomic():
        assert forget("item:7").deferred
        assert forget("item:7", using="default").deferred
        assert not forget("item:7", using="other").deferred
        assert cache.invalidate("item:8").deferred
        assert not cache.invalidate_now("item:8").deferred
    assert cache.statistics()["invalidation"] == 4


def test_it_can_be_wrapped_around_the_whole_application(pagegen_settings: Settings) -> None:
    table = {**TABLE, "rule": [rule for rule in TABLE["rule"] if rule["path"] == "/**"]}
    pagegen_settings(ROOT_URLCONF="tests.contrib.django.site", PAGEGEN=table, MIDDLEWARE=[])
    application = PageCacheMiddleware(get_wsgi_application(), cache=cache)
    first = call_wsgi(application, environ("GET", "/plain"))
    assert call_wsgi(application, environ("GET", "/plain")).text == first.text
    cache.invalidate("things")
    assert call_wsgi(application, environ("GET", "/plain")).text != first.text


def test_the_identity_of_the_stack_is_a_bypass_outside_of_it(
    pagegen_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    pagegen_settings(ROOT_URLCONF="tests.contrib.django.site", PAGEGEN=TABLE, MIDDLEWARE=[])
    application = PageCacheMiddleware(get_wsgi_application(), cache=get_cache())
    answer = call_wsgi(application, environ("GET", "/mine/cookies"))
    assert answer.trace == "bypass: identity"
    assert "put" in caplog.text and "into MIDDLEWARE" in caplog.text


def test_who_asks_for_the_cache_while_the_rules_are_read_is_told(
    pagegen_settings: Settings,
) -> None:
    pagegen_settings(ROOT_URLCONF="tests.contrib.django.hasty")
    with pytest.raises(ConfigError, match="use it inside of functions"):
        get_cache()


def test_a_thread_that_imports_while_another_builds_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    barrier = Barrier(2)
    read = caches.configuration

    def slow() -> Any:
        barrier.wait(20)  # both are here at one time: no lock is held
        return read()

    monkeypatch.setattr(caches, "configuration", slow)
    with ThreadPoolExecutor(2) as pool:
        assert len({id(found) for found in pool.map(lambda _: get_cache(), range(2))}) == 1


def test_options_are_read_anew_when_they_change(pagegen_settings: Settings) -> None:
    assert options() == Options()
    pagegen_settings(PAGEGEN={"django": {"outbox": True}})
    assert options().outbox


def test_everything_imports_without_settings(tmp_path: Path) -> None:
    program = (
        "from pagegen.contrib.django import cache, get_cache, page, register, "
        "PageCacheMiddleware, DjangoPageCache; print('imported')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "imported\n", done.stderr
