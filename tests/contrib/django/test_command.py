"""``manage.py pagegen``."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from pagegen.contrib.django import checks, get_cache, page
from pagegen.contrib.django.management.commands.pagegen import Command
from pagegen.contrib.outbox import django as outbox
from pagegen.testing import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.conftest import Settings
from tests.docs.pages import code, rows, section


@page(share="public", namespaces=["item:{item}"], ttl="1h", query={"page": {"type": "int"}})
def show(request: HttpRequest, item: int) -> HttpResponse:
    return HttpResponse("shown")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


URLS = ModuleType("urls_of_a_test")
URLS.urlpatterns = [path("items/0", plain), path("items/<int:item>", show)]  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def project(pagegen_settings: Settings, tmp_path: Path) -> None:
    table = {
        "pagegen": {"store": f"lmdb://{tmp_path}/pages"},
        "rule": [{"path": "/admin/**", "cache": False}],
        "invalidates": [{"path": "/items/{item}", "namespaces": ["item:{item}"]}],
    }
    pagegen_settings(ROOT_URLCONF=URLS, MIDDLEWARE=[], PAGEGEN=table)


def run(*words: str) -> str:
    out = StringIO()
    call_command("pagegen", *words, stdout=out, no_color=True)
    return out.getvalue()


def said(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def refused(*words: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(*words)
    return caught.value


def visit(target: str = "/items/7") -> None:
    app = PageCacheMiddleware(get_wsgi_application(), cache=get_cache())
    assert call_wsgi(app, environ("GET", target)).status == 200


def test_rules_are_listed_in_order_with_the_view_that_declares_them() -> None:
    lines = run("rules").splitlines()
    assert [line.split()[0] for line in lines if line] == [
        "PATH", "/admin/**", "/items/0", "/items/{item:int}", "WRITES", "/items/{item}",
    ]  # fmt: skip
    assert lines[1].endswith("settings")
    assert "not cached" in lines[2]
    assert lines[3].split()[-1] == f"{__name__}.show"


def test_rules_are_told_to_programs() -> None:
    told = said("rules")
    assert told["rules"][2] == {
        "name": "/items/{item:int}", "path": "/items/{item:int}", "methods": ["GET", "HEAD"],
        "cache": True, "share": "public", "ttl": "1h", "namespaces": ["item:{item}"],
        "declared_at": f"{__name__}.show",
    }  # fmt: skip
    assert told["invalidates"][0]["namespaces"] == ["item:{item}"]


def test_inspect_tells_what_is_there_and_since_when() -> None:
    assert said("inspect", "/items/7", "--host", "testserver")["state"] == "absent"
    visit()
    seen = said("inspect", "/items/7", "--host", "testserver")
    assert (seen["state"], seen["namespaces"][0]) == ("fresh", "item:7")
    assert seen["age"] >= 0
    assert "fresh" in run("inspect", "http://testserver/items/7")
    assert said("inspect", "/items/7", "--host", "elsewhere")["state"] == "absent"
    assert said("inspect", "/admin/x")["state"] == "uncacheable"


def test_inspect_reads_query_headers_and_escapes_of_a_url() -> None:
    visit("/items/7?page=2")
    # Spelled in another way it is another page, of the same rule.
    escaped = said("inspect", "/items/%37?page=2")
    assert (escaped["host"], escaped["rule"]) == ("testserver", "/items/{item:int}")
    assert said("inspect", "/items/7?page=02")["state"] == "fresh"
    assert said("inspect", "/items/7?page=3")["state"] == "absent"
    range_of = said("inspect", "/items/7?page=2", "--header", "Range: bytes=0-1")
    assert range_of["state"] == "fresh"


def test_invalidate_forgets_and_tells_what() -> None:
    visit()
    assert run("invalidate", "item:7", "item:8") == "Forgotten: item:7, item:8\n"
    assert said("inspect", "/items/7", "--host", "testserver")["changed"] == ["item:7"]


def test_invalidate_says_which_names_no_rule_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert said("invalidate", "item:7", "itme:7")["unknown"] == ["itme:7"]
    run("invalidate", "itme:7")
    assert "No rule has pages of 'itme:7'" in capsys.readouterr().err


def test_invalidate_inside_of_a_transaction_waits_for_its_commit() -> None:
    visit()
    with transaction.atomic():
        assert "when the transaction commits" in run("invalidate", "item:7")
        assert said("inspect", "/items/7", "--host", "testserver")["state"] == "fresh"
    assert said("inspect", "/items/7", "--host", "testserver")["state"] == "invalidated"


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("invalidate", "two\nlines"), 2, "is no namespace"),
        (("inspect", "items/7"), 2, "slash"),
        (("inspect", "/items/7", "--header", "Range"), 2, "NAME:VALUE"),
    ],
)
def test_what_was_not_understood_ends_with_two(
    words: tuple[str, ...], code: int, problem: str
) -> None:
    error = refused(*words)
    assert error.returncode == code
    assert problem in str(error)


def test_a_store_of_one_process_cannot_be_reached(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={})
    for words in (("invalidate", "item:7"), ("sweep", "--once")):
        error = refused(*words)
        assert error.returncode == 1
        assert "belongs to one process" in str(error)


def test_a_store_that_does_not_acknowledge_ends_with_one(pagegen_settings: Settings) -> None:
    # Nobody listens on port 1.
    pagegen_settings(PAGEGEN={"pagegen": {"store": "memcached://127.0.0.1:1"}})
    error = refused("invalidate", "item:7")
    assert error.returncode == 1
    assert "run it once more" in str(error)


def test_mistakes_of_the_configuration_end_with_one(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={"rule": [{"path": "/a", "shear": "public"}]})
    for verb in (("rules",), ("inspect", "/a"), ("invalidate", "a")):
        error = refused(*verb)
        assert error.returncode == 1
        assert "Did you mean" in str(error)


def test_check_is_content_with_a_right_configuration() -> None:
    assert run("check") == "Nothing is wrong.\n"
    assert said("check") == {"ok": True, "messages": []}


def test_check_lists_what_is_wrong(pagegen_settings: Settings) -> None:
    pagegen_settings(PAGEGEN={"rule": [{"path": "/a", "shear": "public"}]})
    error = refused("check")
    assert error.returncode == 1
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("pagegen", "check", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["ok"] is False
    assert any("shear" in message["message"] for message in told["messages"])


def test_the_reference_tells_every_check_and_every_verb() -> None:
    told = section("docs/reference/django.md", "System checks")
    listed = {name for row in rows(told) for name in code(row[0])}
    assert listed == set(re.findall(r"pagegen\.[EW]\d+", checks.__doc__ or ""))
    assert listed == {f"pagegen.{n}" for n in re.findall(r'"(?:pagegen\.)?([EW]\d{3})"', _source())}
    command = rows(section("docs/reference/django.md", "The command"))
    verbs = {code(row[0])[0].split()[0] for row in command if code(row[0])}
    parser = Command().create_parser("manage.py", "pagegen")
    (action,) = (a for a in parser._actions if a.dest == "verb")
    assert verbs == set(action.choices)


def _source() -> str:
    return Path(checks.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("database", ["default", "other"])
@pytest.mark.usefixtures("database")
def test_sweep_applies_what_a_worker_left_in_the_outbox(database: str) -> None:
    visit()
    with transaction.atomic(using=database):
        # As if the worker had died after its commit.
        outbox.write(database, "default", ["item:7"])
    assert said("inspect", "/items/7", "--host", "testserver")["state"] == "fresh"
    run("sweep", "--once", "--grace", "0", "--database", database)
    assert said("inspect", "/items/7", "--host", "testserver")["state"] == "invalidated"
