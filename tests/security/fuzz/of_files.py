"""What is read besides requests: configuration, SQL, rows of the outbox, what classes declare."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from contextlib import suppress
from typing import Any, Final

from pagegen.config import Configuration, from_table
from pagegen.contrib.declared import declare
from pagegen.contrib.django import guard as django_guard
from pagegen.contrib.outbox import rows
from pagegen.contrib.sqlalchemy import guard as sqlalchemy_guard
from pagegen.errors import ConfigError, NamespaceError
from pagegen.logs import escaped, logger
from pagegen.namespaces import is_name
from pagegen.readers import hosts
from pagegen.rulebook import RuleBook
from pagegen.shapes import Shapes

from .targets import holds, target, text

_KEYS: Final = (
    "[pagegen]\n", "[[rule]]\n", "[rule.query]\n", "[[invalidates]]\n", "[identity.user]\n",
    "path = ", "share = ", "ttl = ", "swr = ", "soft = true\n", "strict = true\n", "namespaces = ",
    "methods = ", '"public"', '["user"]', '"/a/{x:int}"', '"7d"', "mode = ", '"http"', "cookies = ",
    "from = ", '["cookie:session"]', "site_key = ", "encrypt = ", "near = ", "max_body = ",
    "compress = ", "= {}\n", "= []\n", "= 1e400\n", "= -1\n", "= nan\n", "= 1979-05-27\n",
    "= true\n", "store = ", "headers = ", "allowed_hosts = ", "drop_query = ", '["@tracking"]',
    "passthrough = ", "early = ",
)  # fmt: skip


def _configured(table: Any) -> Configuration | None:
    """What a table configures; None where it is wrong, and says what and how to mend it."""
    try:
        return from_table(table)
    except ConfigError as error:
        said = str(error)
        holds(bool(error.remedy), "no remedy", said)
        holds(len(said) < 5_000, "an endless error", said[:200])
        return None


@target(*_KEYS, length=700)
def configuration(data: bytes) -> None:
    """Files: rules, or one error with its place and remedy; read again they are the same rules."""
    said = data.decode("utf-8", "replace")
    try:
        table = tomllib.loads(said)
    except (ValueError, RecursionError):
        return
    found, again = _configured(table), _configured(table)
    holds((found is None) == (again is None), "by chance", said)
    if found is not None and again is not None:
        before, after = ([r.fingerprint for r in each.book.rules] for each in (found, again))
        holds(before == after, "another fingerprint", said)


@target(
    *(f'"{word}": ' for word in ("path", "share", "ttl", "query", "namespaces")), '"/a"',
    '"public"', "[", "]", "{", "}", "null", "1", '"x"', ",", "true", length=400,
)  # fmt: skip
def rule_tables(data: bytes) -> None:
    """Rules made in Python of whatever values: an error that says what is wrong, and no other."""
    try:
        table = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    if isinstance(table, dict):
        for given in (table, {"rule": [table]}, {"invalidates": [table]}, {"pagegen": table},
                      {"identity": {"user": table}}):  # fmt: skip
            _configured(given)


@target("example.com", ".", "*.", ":80", "*", "[::1]", "\n", "/", "é")
def allowed_hosts(data: bytes) -> None:
    """Hosts of the configuration: what it names is allowed, and what has another end is not."""
    entries = text(data).split("\n")
    try:
        found = hosts(entries)
    except ConfigError:
        return
    if found.any:
        return
    for entry in entries:
        if not entry.startswith((".", "*.")):
            holds(found.allow(entry), "not allowed", entry)
    bare = [entry.partition(":")[0] for entry in entries if "[" not in entry]
    evil = f"{bare[0]}.evil.invalid" if bare and bare[0][:1].isalnum() else "evil.invalid"
    holds(
        not found.allow(evil) or "invalid" in text(data).lower(),
        "others are allowed",
        entries,
        evil,
    )


_NAMES: Final = (
    "items", "shop_Items2", '"items"', "`items`", "[items]", "s.items", '"s"."it""ems"',
)  # fmt: skip
_VERBS: Final = (
    "insert into ", "UPDATE ", "delete  from\n", "Insert Or Replace Into ", "truncate table ",
    "REPLACE INTO ", "merge into ", "copy ", "update only ",
)  # fmt: skip


@target(
    *_VERBS, *_NAMES, "/*", "*/", "--", "'", "''", ";", "$$", "select ", "\n", "(", " where x in ",
    length=900,
)  # fmt: skip
def sql(data: bytes) -> None:
    """Statements: no text raises, and a write behind what is closed is seen."""
    said = data.decode("utf-8", "replace")
    for guard in (django_guard.written, sqlalchemy_guard.written):
        tables = guard(said)
        holds(all(name == name.lower() for name in tables), "not in lower case", said)
        holds(sum(map(len, tables)) <= 2 * len(said) + 16, "longer than it is", said)
        # "İ" has two characters in lower case.
    deleted = sqlalchemy_guard.deleted(said)
    holds(deleted <= sqlalchemy_guard.written(said), "deleted and not written", said)
    if not set("'\"`[/-") & set(said):
        whole = f"{said} ; update items set a = 1"
        holds("items" in django_guard.written(whole), "overlooked", said)
        holds("items" in sqlalchemy_guard.written(whole), "overlooked", said)
    for comment in ("/* update x set */ ", "-- delete from x\n"):
        if "*/" not in said:
            before, after = django_guard.written(said), django_guard.written(comment + said)
            named = re.search(r"\bx\b", said, re.IGNORECASE) is not None
            holds(named or before == after, "a comment writes", said)


@target(
    '["item:7"]', "[", "]", '"', ",", "null", "1e999", "\\u0000", "pagegen:", "\\ud800", "NaN",
    length=700,
)  # fmt: skip
def outbox_rows(data: bytes) -> None:
    """Rows of the outbox: good names are forgotten, whatever stands beside them."""
    for held in (data, data.decode("utf-8", "replace"), None, 7):
        row = rows.decode("id", held)
        holds(all(map(is_name, row.names)), "no names", row)
        holds(len(row.problem or "") <= rows.MAX_PROBLEM, "an endless problem", held)
        holds(bool(row.names) or row.problem is not None or held in (b"[]", "[]") or _empty(held),
              "neither names nor a problem", held)  # fmt: skip
        again = [
            name for _, each in rows.encode(row.names) for name in rows.decode("id", each).names
        ]
        holds(tuple(again) == row.names, "not read as written", row.names)
    with suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, list):
            good = {name for name in found if is_name(name)}
            holds(good == set(rows.decode("id", data).names), "a name is lost", data)


def _empty(held: object) -> bool:
    with suppress(ValueError, TypeError):
        return json.loads(held) == []  # type: ignore[arg-type]
    return False


@target("item:{id}", "{", "}", "{shop_id}", "\n", "pagegen:", ":", "x" * 50)
def declarations(data: bytes) -> None:
    """What classes declare: an error when it is declared, or names of every row."""
    *templates, value = text(data).split("\n")
    try:
        found = declare("Item", templates, ("id", "shop_id"), field="pagegen_namespaces")
    except ConfigError:
        return
    with suppress(NamespaceError):
        names = found.names({"id": value, "shop_id": 7})
        holds(len(names) == len(found.templates) and all(map(is_name, names)), "names", names)
    with suppress(NamespaceError):
        holds(found.names({"id": None, "shop_id": None}) == found.general, "of nothing", templates)


_SHAPES: Final = Shapes(RuleBook())


@target("user:", "42", "/", "@", "%2F", "\n", "\r", "\x1b[31m", "\x00", "\x7f", "\x85", "item:{id}")
def log_lines(data: bytes) -> None:
    """Lines of the log: nothing but what can be printed, and no values of namespaces."""
    said = data.decode("utf-8", "surrogateescape")
    told = escaped(said, 100)
    holds(told.isprintable() and len(told) <= 101 * 10, "not printable", said)
    record = logging.LogRecord("pagegen", logging.WARNING, "", 0, "%s: %r", (said, [said]), None)
    for each in logger("pagegen.fuzz").filters:
        each(record)  # type: ignore[operator]
    holds(record.getMessage().isprintable(), "not printable", record.getMessage())
    if is_name(said):
        shape = _SHAPES.of(said)
        holds(not set("0123456789%@") & set(shape), "a value", said, shape)
        holds(_SHAPES.join([said, said]) == f"{shape} (2 of them)", "together", said)
