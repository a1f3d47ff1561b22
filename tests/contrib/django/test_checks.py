"""The system checks: each mistake by its number, and silence where nothing is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from tests.contrib.django.conftest import Settings
from tests.contrib.django.setting_up import MIDDLEWARE
from tests.contrib.django.site import TABLE

SESSIONS, COMMON, CSRF, AUTHENTICATION, OURS, MESSAGES = MIDDLEWARE
LOCALE = "django.middleware.locale.LocaleMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
SITE = "django.contrib.sites.middleware.CurrentSiteMiddleware"


def ids(*, deploy: bool = False) -> list[str]:
    found = run_checks(tags=["pagegen"], include_deployment_checks=deploy)
    assert all(message.hint for message in found)
    return sorted(message.id.removeprefix("pagegen.") for message in found)


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        (MIDDLEWARE, []),
        ([SESSIONS, AUTHENTICATION, OURS, LOCALE], []),
        ([OURS, SESSIONS, AUTHENTICATION], ["E004", "E004"]),
        ([SESSIONS, OURS, AUTHENTICATION], ["E004"]),
        ([SESSIONS, OURS], ["E004"]),
        ([SESSIONS, AUTHENTICATION], ["E004"]),
        ([UPDATE, *MIDDLEWARE], ["E005"]),
        ([UPDATE, *MIDDLEWARE, FETCH], ["E005", "E005"]),
        ([LOCALE, *MIDDLEWARE], ["W101"]),
        ([GZIP, *MIDDLEWARE], ["W102"]),
        ([*MIDDLEWARE, GZIP], ["W102"]),
        ([SESSIONS, AUTHENTICATION, OURS, CSRF], ["W103"]),
        ([SITE, *MIDDLEWARE], ["W104"]),
        ([*MIDDLEWARE, SITE], []),
        (["there.is.no.such.Middleware", *MIDDLEWARE], []),
    ],
)
def test_the_order_of_middleware(
    pagegen_settings: Settings, middleware: list[str], expected: list[str]
) -> None:
    pagegen_settings(PAGEGEN=TABLE, MIDDLEWARE=middleware)
    assert ids() == expected


def test_a_carried_site_is_no_problem(pagegen_settings: Settings) -> None:
    pagegen_settings(
        PAGEGEN={**TABLE, "django": {"carry": ["site"]}}, MIDDLEWARE=[SITE, *MIDDLEWARE]
    )
    assert ids() == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, ["W106"]),
        ({"django": {"outbox": "yes"}}, ["E001"]),
        ({"rule": [{"path": "/x", "share": ["nobody"]}]}, ["E001"]),
        ({"rule": [{"path": "/x", "share": "public", "ttl": "soon"}]}, ["E001"]),
        ({"rule": [{"path": "/x", "share": "public", "swr": 9, "soft": True}]}, ["E001"]),
        ({"pagegen": {"store": "memory://"}, "rule": [{"path": "/x", "share": "public"}]}, []),
    ],
)
def test_mistakes_in_the_settings(
    pagegen_settings: Settings, table: dict[str, Any], expected: list[str]
) -> None:
    pagegen_settings(PAGEGEN=table)
    assert ids() == expected


def test_an_error_names_place_and_remedy(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={"rule": [{"path": "/x", "share": "public", "tll": 7}]})
    (error,) = run_checks(tags=["pagegen"])
    assert error.msg == "settings.PAGEGEN: rule \"/x\": tll: unknown key 'tll'."
    assert error.hint == "Did you mean 'ttl'?"


def test_a_store_of_one_process_is_told_where_there_are_several(
    pagegen_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pagegen_settings(PAGEGEN=TABLE)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert ids() == []
    assert ids(deploy=True) == ["W105"]
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert ids() == ids(deploy=True) == ["W105"]
    pagegen_settings(PAGEGEN={**TABLE, "pagegen": {"store": "lmdb://pages"}})
    assert ids(deploy=True) == []


def test_rules_keyed_by_users_without_authentication_installed_are_checked(
    pagegen_settings: Settings,
) -> None:
    pagegen_settings(PAGEGEN=TABLE, MIDDLEWARE=[COMMON, OURS, MESSAGES])
    assert ids() == ["E004", "E004"]
