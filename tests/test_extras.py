"""Each extra brings all that the modules which stand on it import.

What a test run has installed says nothing of it: the extra ``test`` brings everything. So this
walks from each extra over the requirements of the installed distributions, as an installer would.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final[Mapping[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]
EXTRAS: Final[Mapping[str, list[str]]] = PROJECT["optional-dependencies"]
#: The modules that stand on an extra: files and folders of the project.
STANDS_ON: Final = {
    "lmdb": ["pagegen/stores/lmdb"],
    "memcached": ["pagegen/stores/memcached"],
    "redis": ["pagegen/stores/redis"],
    "compression": ["pagegen/compression.py"],
    "encryption": ["pagegen/stores/sealing.py"],
    "proxy": ["pagegen/testing/proxy"],
    "check": ["pagegen/testing/check"],
    "django": ["pagegen/contrib/django", "pagegen/contrib/outbox/django.py"],
    "sqlalchemy": ["pagegen/contrib/sqlalchemy", "pagegen/contrib/outbox/sqlalchemy.py"],
    "flask": ["pagegen/contrib/flask.py"],
    "fastapi": ["pagegen/contrib/fastapi.py"],
    "demo": ["demo_app"],
    "test": ["tests"],
    "mutants": ["tests/mutants.py"],
    "fuzz": ["tests/security/fuzz"],
    "bench": ["benchmarks"],
    "": ["pagegen"],
}
#: Extras of tools that have an environment of their own: here nobody knows what they require.
OF_TOOLS: Final = {"mutants", "fuzz", "bench"}
#: What is imported by a library in our place, where we use a part of it that needs it: the loop of
#: SQLAlchemy's ``AsyncSession`` runs in greenlets, and its errors come at the first query.
BEHIND: Final = {"sqlalchemy.ext.asyncio": "greenlet"}
OURS: Final = frozenset(("pagegen", "tests", "demo_app", "benchmarks"))
#: In the standard library from Python 3.14 on.
TO_COME: Final = frozenset(("compression",))


def _imports(tree: ast.AST, *, late: bool) -> Iterator[str]:
    """Names of modules that a file imports; ``late``: within functions and ``try``, too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr) and not late:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
        elif isinstance(node, ast.Constant) and _is_module(tree):
            yield str(node.value)
        elif not _typing_only(node) and (late or not isinstance(node, _LATE)):
            yield from _imports(node, late=late)


def _is_module(call: ast.AST) -> bool:
    """Whether this is ``import_module`` of a name that is written there."""
    return isinstance(call, ast.Call) and (
        isinstance(call.func, ast.Name) and call.func.id == "import_module" and len(call.args) == 1
    )


_LATE: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Try)


def _typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def _imported(place: str, late: bool) -> frozenset[str]:
    """Modules of others that the files in a place import, those of a nearer place left out."""
    root = ROOT / place
    names: set[str] = set()
    for file in [root] if root.is_file() else sorted(root.rglob("*.py")):
        if _home(file) == place:
            names.update(_imports(ast.parse(file.read_text("utf-8")), late=late))
    behind = {needed for name, needed in BEHIND.items() if name in names}
    known = OURS | TO_COME | sys.stdlib_module_names
    return frozenset(name for name in names | behind if name.partition(".")[0] not in known)


def _home(file: Path) -> str:
    """The nearest place that a file is in."""
    where = file.relative_to(ROOT).as_posix()
    places = (place for each in STANDS_ON.values() for place in each)
    return max((p for p in places if where == p or where.startswith(f"{p}/")), key=len)


@cache
def _brought(extra: str) -> frozenset[str]:
    """Distributions that an extra, and the project itself, bring."""
    found: set[tuple[str, str]] = set()
    for text in (*PROJECT["dependencies"], *EXTRAS.get(extra, ())):
        _walk(Requirement(text), "", found)
    return frozenset(name for name, _ in found)


def _walk(wanted: Requirement, within: str, found: set[tuple[str, str]]) -> None:
    """Add a requirement that holds ``within`` an extra, and what it requires itself."""
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": within}):
        return
    name = canonicalize_name(wanted.name)
    for extra in ("", *sorted(wanted.extras)):
        if (name, extra) not in found:
            found.add((name, extra))
            for text in _requirements(name, extra):
                _walk(Requirement(text), extra, found)


def _requirements(name: str, extra: str) -> list[str]:
    """What a distribution requires, as it is installed; of ours, as it is written."""
    if name == canonicalize_name(PROJECT["name"]):
        return EXTRAS[extra] if extra else PROJECT["dependencies"]
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # not for this machine, or not installed: then nothing of it is imported


@cache
def _homes() -> Mapping[str, list[str]]:
    return packages_distributions()


@pytest.mark.parametrize(
    "extra", sorted(STANDS_ON.keys() - OF_TOOLS), ids=lambda extra: extra or "none"
)
def test_an_extra_brings_what_stands_on_it_imports(extra: str) -> None:
    brought = _brought(extra)
    for place in STANDS_ON[extra]:
        # Tests, and what stands on no extra, look late for what may not be there.
        for name in _imported(place, late=place not in ("tests", "pagegen")):
            # What is not installed is taken to have the name of its distribution.
            top = name.partition(".")[0]
            there = {canonicalize_name(home) for home in _homes().get(top, [top])}
            assert there & brought, f"{place} imports {name}, and {extra!r} brings no {there}"


def test_every_extra_is_tried() -> None:
    assert EXTRAS.keys() == STANDS_ON.keys() - {""}
    assert all((ROOT / place).exists() for places in STANDS_ON.values() for place in places)
