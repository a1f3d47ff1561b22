"""The reference names everything the code has, with the defaults it has, and nothing more."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

import pytest

import pagegen
import pagegen.stores
import pagegen.testing
from pagegen import Identity, Invalidates, KeyedField, Parameter, Rule, Settings
from pagegen.config import from_table
from pagegen.law.storing import Refusal
from pagegen.readers import QUERY_PRESETS
from pagegen.steering import STEERING
from pagegen.verdicts import Reason
from tests.contrib.django import setting_up
from tests.docs.pages import ROOT, code, pages, prose, rows, section, text
from tests.test_architecture import FLOORS

CONFIGURATION: Final = "docs/reference/configuration.md"
LIMITS: Final = "docs/reference/limits.md"
HTTP: Final = "docs/reference/http-behaviour.md"
API: Final = "docs/reference/python-api.md"
WATCHING: Final = "docs/how-to/see-what-the-cache-did.md"
ARCHITECTURE: Final = "docs/explanation/architecture.md"


class Table(NamedTuple):
    id: str
    heading: str
    kind: type
    # The file's name of a field, where it has another.
    called: dict[str, str] = {}
    # Fields of the dataclass that are no key of this table.
    beside: tuple[str, ...] = ()
    # Keys without which the configuration is refused, although the field has a default.
    required: tuple[str, ...] = ()


TABLES = (
    Table("pagegen", "`[pagegen]`", Settings),
    Table("identity", "`[identity.NAME]`", Identity, {"sources": "from"}, ("name",)),
    Table("rule", "`[[rule]]`", Rule, required=("share",)),
    Table("query", "`[rule.query]`", Parameter),
    Table("headers and cookies", "`[rule.headers]` and `[rule.cookies]`", KeyedField),
    Table("invalidates", "`[[invalidates]]`", Invalidates),
)


def _keys(table: Table) -> dict[str, dataclasses.Field[Any]]:
    return {
        table.called.get(field.name, field.name): field
        for field in dataclasses.fields(table.kind)
        if field.init and field.name not in table.beside
    }


def _listed(table: Table) -> dict[str, list[str]]:
    """Rows of the table whose first cell is a key, by key."""
    found = rows(section(CONFIGURATION, table.heading))
    return {code(row[0])[0]: row for row in found if len(row) == 4}


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    value = field.default
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.id)
def test_every_key_of_the_file_is_listed_and_no_other(table: Table) -> None:
    assert set(_listed(table)) == set(_keys(table))


@pytest.mark.parametrize(
    ("table", "key"),
    [pytest.param(table, key, id=f"{table.id}.{key}") for table in TABLES for key in _keys(table)],
)
def test_every_default_is_what_the_page_says(table: Table, key: str) -> None:
    said, field = _listed(table)[key][2], _keys(table)[key]
    if said == "required":
        no_default = field.default is dataclasses.MISSING
        assert key in table.required or (
            no_default and field.default_factory is dataclasses.MISSING
        )
    elif said == "none":
        assert field.default is None
    else:
        assert tomllib.loads(f"value = {code(said)[0]}")["value"] == _default(field)


def test_the_file_has_no_other_sections() -> None:
    for heading in ("pagegen", "identity", "rule", "invalidates"):
        assert f"[{heading}" in text(CONFIGURATION)
    with pytest.raises(pagegen.ConfigError, match="Known are identity, invalidates, pagegen, rule"):
        from_table({"xyzzy": {}})


def test_presets_and_choices_are_listed() -> None:
    said = set(code(section(CONFIGURATION, "`[[rule]]`")))
    for preset, names in QUERY_PRESETS.items():
        assert {preset, *names} <= said


def _first_cells(heading: str) -> list[str]:
    return [code(row[0])[0] for row in rows(section(HTTP, heading))]


@pytest.mark.parametrize(
    ("heading", "reasons"),
    [("Why a request is a bypass", Reason), ("Why a response is not stored", Refusal)],
    ids=["bypass", "refusal"],
)
def test_every_reason_is_listed_and_no_other(heading: str, reasons: type[StrEnum]) -> None:
    listed = _first_cells(heading)
    assert len(listed) == len(set(listed))
    assert set(listed) == {str(reason) for reason in reasons}


def test_a_reason_that_is_never_given_is_said_to_be_so() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "pagegen").rglob("*.py"))
    unused = {
        str(reason)
        for kind in (Reason, Refusal)
        for reason in kind
        if f"{kind.__name__}.{reason.name}" not in sources
    }
    assert unused == {code(row[0])[0] for row in _all_rows(HTTP) if "not given" in row[1]}


def _all_rows(page: str) -> list[list[str]]:
    return rows(prose(page))


def _modules() -> Iterator[Any]:
    setting_up.configure()  # Django's modules cannot be imported without
    for found in pkgutil.walk_packages(pagegen.__path__, "pagegen."):
        yield importlib.import_module(found.name)


def _constants() -> dict[str, float]:
    """All numbers in capitals that the package's modules define themselves."""
    found = {}
    for module in _modules():
        for name in re.findall(
            r"^(_?[A-Z][A-Z_]+)(?:: Final)? = ", inspect.getsource(module), re.M
        ):
            value = getattr(module, name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[f"{module.__name__}.{name}"] = value
    return found


# Numbers that bound nothing: of formats, protocols and exit codes, and places in a file.
NO_LIMITS: Final = {
    "pagegen.compression._GZIP_FORMAT",
    "pagegen.contrib.django.management.commands.pagegen.FAILED",
    "pagegen.contrib.django.management.commands.pagegen.NOT_UNDERSTOOD",
    "pagegen.keys.KEY_FORMAT",
    "pagegen.stores.codec.FORMAT",
    "pagegen.stores.codec._BEFORE",
    "pagegen.stores.lmdb.generation._OF_FILES",
    "pagegen.stores.lmdb.locks.OPENING",
    "pagegen.stores.lmdb.locks.WRITING",
    "pagegen.stores.lmdb.locks._LIVING",
    "pagegen.stores.lmdb.place.FORMAT",
    "pagegen.stores.lmdb.store._AFTER",
    "pagegen.stores.memcached.addresses.DEFAULT_PORT",
    "pagegen.stores.memcached.verbs._AT_ONCE",
    "pagegen.stores.memcached.wire.DONE",
    "pagegen.stores.memcached.wire.MORE",
    "pagegen.stores.redis.server.DEFAULT_PORT",
    "pagegen.stores.s3fifo._GONE",
    "pagegen.stores.s3fifo.HITS",
    "pagegen.stores.s3fifo._MAIN",
    "pagegen.stores.s3fifo._PLACE",
    "pagegen.stores.s3fifo._SMALL",
}


def _limits() -> dict[str, float]:
    """Names in the page's tables, each with its value."""
    found = {}
    for row in _all_rows(LIMITS):
        value = float(row[1].split()[0])
        for name in code(row[2]):
            if name.startswith("pagegen."):
                found[name] = value
    return found


def test_every_limit_of_the_code_is_listed_with_its_value_and_no_other() -> None:
    constants = _constants()
    assert constants.keys() >= NO_LIMITS
    expected = {
        name: value
        for name, value in constants.items()
        if name not in NO_LIMITS and not name.startswith("pagegen.testing.")
    }
    assert _limits() == expected


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (Settings, "max_wait"),
        (Settings, "max_waiters"),
        (Rule, "max_body"),
        (Parameter, "max_length"),
        (Parameter, "max_repeats"),
        (KeyedField, "max_length"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_limits_that_are_keys_have_their_default_listed(kind: type, key: str) -> None:
    default = next(f.default for f in dataclasses.fields(kind) if f.name == key)
    values = [float(row[1].split()[0]) for row in _all_rows(LIMITS) if f"`{key}`" in row[2]]
    assert default in values


def _public_members(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}


def test_every_public_name_is_listed() -> None:
    said = set(re.findall(r"\w+", " ".join(code(prose(API)))))
    assert set(pagegen.__all__) <= said
    assert _public_members(pagegen.PageCache) <= said
    assert {"configuration", "engine"} <= said
    assert set(pagegen.stores.__all__) <= said
    tested = ("Scenario", "Answer", "Seen", "Reply", "FakeClock", "environ", "scope", "call_wsgi",
              "call_asgi", "StoreContract")  # fmt: skip
    assert {*tested} <= said
    assert all(hasattr(pagegen.testing, name) for name in tested)


def _sources() -> str:
    """The package's source with neighbouring pieces of text joined, as Python joins them."""
    whole = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pagegen").rglob("*.py"))
    return re.sub(r'"\n\s+f?"', "", whole)


def test_every_counter_is_listed() -> None:
    calls = re.findall(r"counters\.count\(([^)]*)\)", _sources())
    names = {name for call in calls for name in re.findall(r'"([\w-]+)', call)}
    said = {name.split(":")[0] for row in _rows_of("Statistics") for name in code(row[0])}
    assert names <= said
    assert {"hit", "no-room", "refused"} <= names


def _rows_of(heading: str) -> list[list[str]]:
    return rows(section(WATCHING, heading))


def test_quoted_log_messages_are_the_codes_own() -> None:
    sources = _sources()
    for row in _rows_of("Logs"):
        assert code(row[2])[0] in sources
        for logger in code(row[0]):
            assert f'logger("{logger}")' in sources


def test_the_warning_of_a_second_process_is_the_codes_own() -> None:
    shown = re.search(r"```text\n(.*?)```", text("docs/how-to/several-workers.md"), re.DOTALL)
    assert shown is not None
    words = shown[1].replace("'default'", "%r").replace("(…)", "(%s)").split()
    assert " ".join(words) in _sources()


def test_every_field_that_steers_is_listed_and_no_other() -> None:
    part = section("docs/explanation/http-mode.md", "What is hidden in mode http")
    listed = [name for row in rows(part) if len(row) == 2 for name in code(row[1])]
    assert len(listed) == len(set(listed))
    assert set(listed) == STEERING | {"HTTP_PROXY"}


def test_quoted_errors_of_the_configuration_are_the_codes_own() -> None:
    for row in rows(section(CONFIGURATION, "Errors")):
        assert code(row[1])[0] in _sources().replace("{what}", "a path or query parameter")


def test_the_floors_are_those_of_the_code() -> None:
    here = {path.stem for path in (ROOT / "pagegen").iterdir()}
    expected = [
        (name, {entry.removesuffix(".*") for entry in entries} & here - {"__init__"})
        for name, entries in FLOORS
    ]
    listed = [(row[0], set(code(row[1]))) for row in rows(section(ARCHITECTURE, "The floors"))]
    assert listed == expected


@pytest.mark.parametrize("page", pages())
def test_no_page_promises_what_this_version_does_not_have(page: str) -> None:
    # DESIGN names them; no page may use them.
    for absent in ("pagegen.cli", "python -m pagegen "):
        assert absent not in text(page)
