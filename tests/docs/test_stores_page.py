"""The reference of the stores names every option, counter, log text and capability, no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from pagegen.stores import Capabilities, MemoryStore, NearStore, opening
from pagegen.stores.codec import _HEAD, FORMAT
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.lmdb import store as lmdb_store
from pagegen.stores.lmdb.beginning import SIZE_NOTICE
from pagegen.stores.memcached import MemcachedStore, blocking
from pagegen.stores.memory import DEFAULT_SIZE
from pagegen.stores.names import Names
from pagegen.stores.options import Options
from pagegen.stores.redis import RedisStore, server
from pagegen.units import parse_duration, parse_size
from tests.docs.pages import ROOT, code, pages, prose, rows, section, text

PAGE: Final = "docs/reference/stores.md"
STORES: Final = ROOT / "pagegen" / "stores"
HEADINGS: Final = {
    "memory": "Memory",
    "lmdb": "LMDB",
    "memcached": "memcached",
    "redis": "Redis and Valkey",
    "near": "Near",
}
#: Where each store reads its options.
READERS: Final = {
    "memory": "opening.py",
    "lmdb": "lmdb/store.py",
    "memcached": "memcached/store.py",
    "redis": "redis/server.py",
}
#: Options of the stores with their defaults; "none" where the option is absent by default.
DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "memory": {"size": DEFAULT_SIZE},
    "lmdb": {
        "size": parse_size(lmdb_store.DEFAULT_SIZE),
        "timeout": lmdb_store.DEFAULT_TIMEOUT,
    },
    "memcached": {
        "timeout": blocking.DEFAULT_TIMEOUT,
        "connect_timeout": "none",
        "pool": blocking.DEFAULT_POOL,
        "large": "split",
        "client": "native",
        "tls": "off",
        "tls_ca": "none",
    },
    "redis": {
        "timeout": server.DEFAULT_TIMEOUT,
        "pool": server.DEFAULT_POOL,
        "db": 0,
        "ca": "none",
        "cert": "none",
        "key": "none",
    },
}


def _tables(kind: str) -> list[list[str]]:
    return rows(section(PAGE, HEADINGS[kind]))


def _options(kind: str) -> dict[str, list[str]]:
    """The rows of a store's options by their name."""
    part = section(PAGE, HEADINGS[kind]).partition("| option |")[2].partition("\n\n")[0]
    return {code(row[0])[0]: row for row in rows("| option |" + part)}


def _taken(kind: str) -> set[str]:
    """The options that a store's own source asks for."""
    source = (STORES / READERS[kind]).read_text(encoding="utf-8")
    names = set(re.findall(r'options\.(?:take|choose)\(\s*"(\w+)"', source))
    # Redis takes those of its certificates in a loop.
    for loop in re.findall(r"for name in \(([^)]*)\)", source) if kind == "redis" else ():
        names |= set(re.findall(r'"(\w+)"', loop))
    return names


@pytest.mark.parametrize("kind", READERS)
def test_every_option_is_listed_and_no_other(kind: str) -> None:
    assert set(_options(kind)) == _taken(kind) == set(DEFAULTS[kind])


def _read(said: str, like: object) -> object:
    if isinstance(like, float):
        return parse_duration(said)
    if isinstance(like, int):
        return parse_size(said) if not said.isdigit() else int(said)
    return said


@pytest.mark.parametrize(
    ("kind", "option"),
    [pytest.param(kind, name, id=f"{kind}.{name}") for kind in DEFAULTS for name in DEFAULTS[kind]],
)
def test_every_default_of_an_option_is_what_the_page_says(kind: str, option: str) -> None:
    cell, default = _options(kind)[option][1], DEFAULTS[kind][option]
    assert _read(cell if cell == "none" else code(cell)[0], default) == default


def test_the_choices_of_an_option_begin_with_its_default() -> None:
    source = (STORES / READERS["memcached"]).read_text(encoding="utf-8")
    found = re.findall(r'options\.choose\("(\w+)", "(\w+)", "(\w+)"\)', source)
    assert len(found) == 3
    for name, first, other in found:
        assert DEFAULTS["memcached"][name] == first
        assert f"`{other}`" in "".join(_options("memcached")[name])


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Mapping[str, int]]]:
    """The statistics of each store, none of which has a server."""
    folder = tmp_path_factory.mktemp("stores")
    memory = MemoryStore()
    lmdb = LmdbStore(folder / "pages", "4MiB")
    memcached = MemcachedStore(["127.0.0.1:1"])
    memcached.on_loop()
    redis = RedisStore("redis://127.0.0.1:1")
    near = NearStore(memory, 1)
    kinds: dict[str, Any] = {"memory": memory, "lmdb": lmdb, "memcached": memcached,
                             "redis": redis, "near": near}  # fmt: skip
    said = {kind: dict(store.statistics()) for kind, store in kinds.items()}
    for name in memory.statistics():
        del said["near"][name]
    yield said
    for store in kinds.values():
        store.close()


@pytest.mark.parametrize("kind", HEADINGS)
def test_every_counter_of_a_store_is_listed_and_no_other(
    kind: str, counted: Mapping[str, Mapping[str, int]]
) -> None:
    part = section(PAGE, HEADINGS[kind]).partition("| statistics | |")[2].partition("\n\n")[0]
    listed = [name for row in rows("| statistics | |" + part) for name in code(row[0])]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(counted[kind])


def _log_texts() -> Iterator[tuple[str, str]]:
    """Level and text of everything that a store logs, the notices of LMDB's directory included."""
    for path in sorted(STORES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            said = node.func.attr
            if ast.unparse(node.func).endswith("_notices.say"):
                name = isinstance(node.args[1], ast.Name)
                text = SIZE_NOTICE if name else ast.literal_eval(node.args[1])
                yield "warning", f"the store in %s {text}"
            elif ast.unparse(node.func.value) == "log" and isinstance(node.args[0], ast.Constant):
                yield said, str(node.args[0].value)


def _listed_logs() -> list[tuple[str, str]]:
    part = [row for row in rows(prose(PAGE)) if len(row) == 3]
    return [(row[0], code(row[1])[0]) for row in part if row[0] in ("warning", "error", "info")]


def test_every_log_text_of_the_stores_is_listed_with_its_level() -> None:
    texts = list(_log_texts())
    listed = _listed_logs()
    assert len(texts) > 8
    for level, said in texts:
        assert any(said.startswith(begins) and level == at for at, begins in listed), said
    for level, begins in listed:
        assert any(said.startswith(begins) and level == at for at, said in texts), begins


def test_quoted_mistakes_are_the_codes_own() -> None:
    whole = "".join(path.read_text(encoding="utf-8") for path in STORES.rglob("*.py"))
    for row in rows(section(PAGE, "All stores")):
        if len(row) == 2:
            assert code(row[1])[0] in re.sub(r'"\n\s+f?"', "", whole)


def test_capabilities_are_the_stores_own() -> None:
    listed = {row[0]: row[1:] for row in rows(section(PAGE, "Capabilities")) if len(row) == 7}
    fields = [name for name in Capabilities.__slots__ if not name.startswith("_")]
    kinds = {"memory": MemoryStore, "LMDB": LmdbStore, "memcached": MemcachedStore,
             "Redis": RedisStore}  # fmt: skip
    assert listed.keys() == {*kinds, "near"}
    for name, kind in kinds.items():
        can = kind.capabilities
        assert listed[name] == ["yes" if getattr(can, field) else "no" for field in fields]


def test_names_in_a_store_are_spelled_as_they_are_made() -> None:
    site = Names("default")
    prefix = site.prefix.decode()
    made = {"p": site.page(b"s" * 20), "t": site.token("n"), "l": site.lease(b"s" * 20)}
    listed = {code(row[0])[0] for row in rows(section(PAGE, "Names and sizes"))[:4]}
    kinds = {name.split(":")[2] for name in listed}
    assert {name.split(":")[0] for name in listed} == {prefix.split(":")[0]}
    assert kinds == {*made, "x"}
    assert all(f":{kind}:" in name.decode() and len(name) <= 50 for kind, name in made.items())


def test_the_stored_format_is_the_one_described() -> None:
    part = section(PAGE, "The stored format")
    assert f"number {FORMAT}." in part
    assert [row[0] for row in rows(part)] == ["3", "1", "1", "4 or 16", str(_HEAD.size), "the rest"]


_URL: Final = re.compile(r"\b(memory|lmdb|memcached|rediss?|redis\+unix)://([^\s`'\"|)]*)")


def _urls() -> Iterator[tuple[str, str, str]]:
    for page in pages():
        for scheme, rest in _URL.findall(text(page)):
            if "=" in rest and "…" not in rest:
                yield page, scheme, rest


def test_every_url_of_a_store_in_the_documentation_has_options_that_exist() -> None:
    found = list(_urls())
    assert len(found) > 5
    for page, scheme, rest in found:
        asked = re.findall(r"[?&](\w+)=", f"{scheme}://{rest}")
        kind = opening._KINDS[scheme][0] if scheme != "memory" else scheme
        assert set(asked) <= set(DEFAULTS[kind]), f"{page}: {scheme}://{rest}"
        assert Options(f"{scheme}://{rest}").scheme == scheme


def test_every_scheme_of_a_store_is_listed() -> None:
    said = text(PAGE)
    assert all(f"`{scheme}://" in said for scheme in ("memory", *opening._KINDS))


WATCH: Final = "docs/how-to/watch-a-store.md"


def test_what_to_alert_on_is_counted_and_said() -> None:
    part = rows(section(WATCH, "What to alert on"))
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "pagegen").rglob("*.py"))
    joined = re.sub(r'"\n\s+f?"', "", sources)
    counters = [code(row[0]) for row in part if len(row) == 3]
    lines = [code(row[0])[0] for row in part if len(row) == 2]
    assert len(counters) > 5 and len(lines) > 2
    listed = {name for row in rows(prose(PAGE)) for name in code(row[0])}
    for name in (name for names in counters for name in names):
        if name.startswith("store_"):
            assert name.removeprefix("store_") in listed, name
        else:
            assert name.split(":")[0] in joined, name
    for line in lines:
        assert line in joined
