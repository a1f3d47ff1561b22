"""The floors of the house: imports go down, the law is pure, and modules stay small.

A module that no floor names fails here: decide where it lives before anything leans on it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pagegen"

# Floors from the ground up. Within one, a module may import those that stand before it. ".*" is a
# whole package: the modules in it may import each other, but never in a circle.
FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("words", ("errors", "logs", "units", "messages", "fields", "steering", "negotiation")),
    (
        "wishes",
        (
            "namespaces",
            "patterns",
            "identities",
            "parameters",
            "readers",
            "rules",
            "rulebook",
            "shapes",
            "config",
            "looseness",
        ),
    ),
    ("law", ("law.*", "keys", "queries")),
    ("shelves", ("forks", "stepping", "workers", "stores.*")),
    (
        "engine",
        (
            "exchange",
            "wrote",
            "identification",
            "verdicts",
            "views",
            "planning",
            "variants",
            "groups",
            "reading",
            "flights",
            "leasing",
            "collecting",
            "pages",
            "compression",
            "sources",
            "remarks",
            "status",
            "debugging",
            "owed",
            "forgetting",
            "state",
            "inspecting",
            "look",
            "boarding",
            "looking",
            "glancing",
            "admitting",
            "invalidating",
            "marking",
            "engine",
            "writing",
            "cache",
        ),
    ),
    ("fronts", ("wsgi.*", "asgi.*")),
    ("doors", ("__init__", "testing.*", "contrib.*", "cli", "cli.*", "__main__")),
)
LAW = next(number for number, (name, _) in enumerate(FLOORS) if name == "law")

PURE = ("law.*", "keys", "namespaces", "queries")
IMPURE = {
    *("time", "datetime", "threading", "asyncio", "os", "io", "socket", "logging", "pathlib"),
    *("random", "secrets", "uuid", "subprocess", "multiprocessing", "concurrent", "contextvars"),
    *("selectors", "signal", "tempfile", "shutil", "sys", "builtins", "importlib"),
}
MAX_LINES = 400
MAX_FUNCTION = 60


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = pytest.mark.parametrize("module", FILES)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def _fits(module: str, entry: str) -> bool:
    package = entry.removesuffix(".*")
    return module == entry or (entry != package and f"{module}.".startswith(f"{package}."))


def _place(module: str) -> tuple[int, int] | None:
    """Floor and position in it; a package's name without its star does not shadow the package."""
    for floor, (_, entries) in enumerate(FLOORS):
        for position, entry in enumerate(entries):
            if _fits(module, entry):
                return floor, position
    return None


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports that run, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and _for_types_only(child):
            for other in child.orelse:
                yield from _statements(other)
        else:
            yield from _statements(child)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that an ``import from`` names, below the package; "" is the package itself."""
    if node.level == 0:
        return (node.module or "").removeprefix("pagegen").removeprefix(".")
    inside = [] if module == "__init__" else module.split(".")
    if FILES[module].stem != "__init__":
        inside = inside[:-1]
    base = inside[: len(inside) - node.level + 1]
    return ".".join((*base, *((node.module or "").split(".") if node.module else ())))


def _inner(module: str) -> set[str]:
    """Modules of this package that a module imports."""
    found = set()
    for node in _statements(_tree(module)):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.split(".")[0] == "pagegen"]
            found |= {
                name.removeprefix("pagegen").removeprefix(".") or "__init__" for name in names
            }
        elif node.level or (node.module or "").split(".")[0] == "pagegen":
            base = _absolute(module, node)
            for alias in node.names:
                whole = f"{base}.{alias.name}" if base else alias.name
                found.add(whole if whole in FILES else base or "__init__")
    return found - {module}


def _outer(module: str) -> set[str]:
    """First names of everything that a module imports from elsewhere."""
    found = set()
    for node in _statements(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found - {"pagegen"}


@MODULES
def test_every_module_stands_on_a_floor(module: str) -> None:
    assert _place(module) is not None, f"name {module} in FLOORS"


@MODULES
def test_imports_go_down_or_to_a_module_that_stands_before(module: str) -> None:
    here = _place(module)
    assert here is not None
    for other in sorted(_inner(module)):
        there = _place(other)
        assert there is not None, f"{module} imports {other}, which stands nowhere"
        same_package = here == there and "." in f"{module}{other}"
        assert there < here or same_package, f"{module} {here} imports {other} {there}"


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: _inner(module) for module in FILES if module != "__init__"}
    for module, others in graph.items():
        # A package is what its __init__ imports; its own modules may not ask it for themselves.
        graph[module] = {other for other in others if other in graph}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_a_front_does_not_know_the_other_one() -> None:
    fronts = {"wsgi": "asgi", "asgi": "wsgi"}
    for module in FILES:
        front = module.partition(".")[0]
        if front in fronts:
            assert not any(_fits(name, f"{fronts[front]}.*") for name in _inner(module)), module


@pytest.mark.parametrize(
    "module", [name for name in FILES if any(_fits(name, entry) for entry in PURE)]
)
def test_the_law_asks_neither_clock_nor_world_nor_third_parties(module: str) -> None:
    outer = _outer(module)
    assert outer & IMPURE == set()
    assert outer <= sys.stdlib_module_names | {"__future__"}
    calls = {n.func.id for n in ast.walk(_tree(module)) if isinstance(n, ast.Call)
             and isinstance(n.func, ast.Name)}  # fmt: skip
    assert not calls & {"open", "print", "input", "eval", "exec", "__import__"}


# The ASGI front, and the twins of stores for event loops.
ASYNCHRONOUS = (
    "writing",  # its block on a loop waits for a free mark
    "asgi.*",
    "stores.threads",
    "stores.memcached.connection",
    "stores.memcached.native",
    "stores.redis.native",
)


@MODULES
def test_only_the_asgi_front_and_twins_of_stores_know_asyncio(module: str) -> None:
    place = _place(module)
    assert place is not None
    if FLOORS[place[0]][0] != "doors" and not any(_fits(module, name) for name in ASYNCHRONOUS):
        assert not _outer(module) & {"asyncio", "anyio", "trio"}


@MODULES
def test_only_the_field_parsers_know_http_sf(module: str) -> None:
    assert module == "fields" or "http_sf" not in _outer(module)


@MODULES
def test_below_the_doors_nothing_but_http_sf_comes_from_outside(module: str) -> None:
    place = _place(module)
    assert place is not None
    # A store's client library is imported by that store alone.
    if FLOORS[place[0]][0] not in ("doors", "shelves"):
        assert _outer(module) <= sys.stdlib_module_names | {"__future__", "http_sf"}


def test_nothing_below_the_shelves_reads_a_clock() -> None:
    for module in FILES:
        place = _place(module)
        if place is not None and place[0] <= LAW:
            assert not _outer(module) & {"time", "threading", "asyncio", "socket"}, module


@MODULES
def test_no_module_is_long(module: str) -> None:
    lines = FILES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_LINES


def _functions(module: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(_tree(module))
    return [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@MODULES
def test_no_function_is_long(module: str) -> None:
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in _functions(module)}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION} == {}


def _public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if child.name.startswith("_") and child.name != "__call__":
            continue
        yield prefix + child.name, child
        if isinstance(child, ast.ClassDef):
            yield from _public(child, f"{prefix}{child.name}.")


@MODULES
def test_everything_public_says_what_it_is(module: str) -> None:
    tree = _tree(module)
    assert ast.get_docstring(tree)
    silent = [
        name
        for name, node in _public(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_floors_name_nothing_twice() -> None:
    entries = [entry for _, group in FLOORS for entry in group]
    assert len(set(entries)) == len(entries)


def test_the_package_was_found() -> None:
    assert {"errors", "law.storing", "engine", "wsgi.middleware", "__init__"} <= set(FILES)
    assert "messages" in _inner("law.storing")
    assert "law.storing" in _inner("law.downstream")
    assert "http_sf" in _outer("fields")
    assert "flights" not in _inner("verdicts")  # for types only
