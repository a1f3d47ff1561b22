"""What outer middleware does to requests never reaches a page that others get."""

from __future__ import annotations

import logging

import pytest

from tests.contrib.django.conftest import Settings
from tests.contrib.django.setting_up import MIDDLEWARE
from tests.contrib.django.site import TABLE, Site

#: Sessions, authentication, ours.
FRONT = [m for m in MIDDLEWARE[:-2] if "csrf" not in m]
OURS = MIDDLEWARE[-2]
OUTER = "tests.contrib.django.outer."
LOCALE = "django.middleware.locale.LocaleMiddleware"


def test_a_language_that_was_chosen_outside_bypasses(
    site: Site, pagegen_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    pagegen_settings(MIDDLEWARE=[*FRONT, OUTER + "Speaks", OURS])
    visitor = site.visitor()
    assert visitor.get("/shows/language").trace == "uri-miss, stored"
    for _ in range(2):
        german = visitor.get("/shows/language", x_language="de")
        assert '"de"' in german.text and german.trace == "bypass: outside"
    assert '"en"' in visitor.get("/shows/language").text
    said = [r for r in caplog.records if r.name == "pagegen.contrib.django"]
    assert [r.levelno for r in said] == [logging.WARNING]
    assert "Put LocaleMiddleware behind it" in said[0].getMessage()


def test_locale_middleware_behind_ours_renders_a_page_for_each_language(
    site: Site, pagegen_settings: Settings
) -> None:
    pagegen_settings(MIDDLEWARE=[*FRONT, OURS, LOCALE])
    visitor = site.visitor()
    for language in ("de", "en", "de", "en"):
        answer = visitor.get("/spoken/language", accept_language=language)
        assert f'"{language}"' in answer.text
        assert answer.get("content-language") == language
    assert answer.trace == "hit"
    # A public page is in the language of the settings, whatever was active in this thread before.
    assert '"en"' in visitor.get("/shows/language", accept_language="de").text


def test_a_time_zone_that_was_chosen_outside_bypasses(
    site: Site, pagegen_settings: Settings
) -> None:
    pagegen_settings(MIDDLEWARE=[*FRONT, OUTER + "Travels", OURS])
    visitor = site.visitor()
    assert visitor.get("/shows/zone").trace == "uri-miss, stored"
    answer = visitor.get("/shows/zone", x_zone="Asia/Tokyo")
    assert "Asia/Tokyo" in answer.text and answer.trace == "bypass: outside"
    assert "America/Chicago" in visitor.get("/shows/zone").text


def test_a_urlconf_and_a_session_that_were_changed_outside_bypass(
    site: Site, pagegen_settings: Settings
) -> None:
    ways = [OUTER + "Routes", OUTER + "Remembers"]
    pagegen_settings(MIDDLEWARE=[*FRONT, *ways, OURS])
    visitor = site.visitor()
    assert visitor.get("/plain").trace == "uri-miss, stored"
    assert visitor.get("/plain", x_urlconf="1").trace == "bypass: outside"
    assert visitor.get("/plain", x_remember="me").trace == "bypass: outside"
    assert "remembered" in visitor.get("/shows/session").text


def test_attributes_are_hidden_unless_they_are_carried(
    site: Site, pagegen_settings: Settings
) -> None:
    pagegen_settings(MIDDLEWARE=[*FRONT, OUTER + "Tenants", OURS])
    visitor = site.visitor()
    assert '"none"' in visitor.get("/shows/carried", x_tenant="one").text
    pagegen_settings(PAGEGEN={**TABLE, "django": {"carry": ["tenant"]}})
    assert '"one"' in Site(site.kind).visitor().get("/shows/carried", x_tenant="one").text


def test_a_user_who_is_not_the_sessions_is_keyed_too(
    site: Site, pagegen_settings: Settings
) -> None:
    pagegen_settings(MIDDLEWARE=[*FRONT, OUTER + "Signs", OURS])
    visitor = site.visitor("ann")
    assert '"robert"' in visitor.get("/mine/user", x_user="robert").text
    assert '"ann"' in visitor.get("/mine/user").text
    assert visitor.get("/mine/user", x_user="robert").trace == "hit"
    shown = visitor.get("/shows/user", x_user="robert")
    assert '"robert"' in shown.text and shown.trace == "refused-private"


def test_scheme_and_host_behind_a_proxy_are_part_of_the_key(
    site: Site, pagegen_settings: Settings
) -> None:
    pagegen_settings(
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        USE_X_FORWARDED_HOST=True,
        ALLOWED_HOSTS=["testserver", "shop.example"],
    )
    visitor = site.visitor()
    for _ in range(2):
        plain = visitor.get("/shows/secure")
        assert "False testserver http://testserver/shows/secure" in plain.text
        proxied = visitor.get(
            "/shows/secure", x_forwarded_proto="https", x_forwarded_host="shop.example"
        )
        assert "True shop.example https://shop.example/shows/secure" in proxied.text
    assert (plain.trace, proxied.trace) == ("hit", "hit")
    refused = visitor.get("/shows/secure", x_forwarded_host="evil.example")
    assert refused.status == 400


@pytest.mark.parametrize("kind", ["SyncOnly", "AsyncOnly"])
@pytest.mark.parametrize("inside", [True, False])
def test_stacks_of_both_kinds_work(
    site: Site, pagegen_settings: Settings, kind: str, inside: bool
) -> None:
    order = [OURS, OUTER + kind] if inside else [OUTER + kind, OURS]
    pagegen_settings(MIDDLEWARE=[*FRONT, *order])
    ann, bob = site.visitor("ann"), site.visitor("bob")
    first = ann.get("/plain/k%C3%A4se")
    assert (first.status, first.trace) == (200, "uri-miss, stored")
    assert bob.get("/plain/k%C3%A4se").text == first.text
    for visitor, name in ((ann, "ann"), (bob, "bob")):
        assert f'"{name}"' in visitor.get("/mine/user").text
        assert visitor.get("/mine/user").trace == "hit"
    assert ann.post("/writes").status == 200
    assert bob.get("/plain/k%C3%A4se").text != first.text


def test_a_page_that_activates_a_language_leaves_none_behind(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.get("/speaks").trace == "uri-miss, stored"
    assert visitor.get("/shows/language").trace == "uri-miss, stored"
    assert '"en"' in visitor.get("/shows/language").text
