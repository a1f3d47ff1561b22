"""``python -m tests.mutants law run``: mutmut, with what it leaves out.

See docs/reference/mutation-check.md.

1. mutmut negates no bare condition, drops no operand and no element, deletes no statement and keeps
   what a function returns. Those are how a law is most easily wrong, so they are added.
2. It leaves decorated functions alone. Properties and remembered functions are changed here too.
3. Nothing is remembered while it runs: an answer from before the change would hide it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

_lru_cache: Final = functools.lru_cache


def _forgetful(maxsize: Any = 128, typed: bool = False) -> Callable[[Any], Any]:
    """``lru_cache`` that keeps nothing of pagegen's."""
    ours = sys._getframe(1).f_globals["__name__"].startswith("pagegen.")
    return _lru_cache(0 if ours else maxsize, typed)


functools.lru_cache = _forgetful  # type: ignore[assignment]

import libcst as cst  # noqa: E402
from libcst import matchers as m  # noqa: E402
from mutmut.__main__ import cli  # noqa: E402
from mutmut.configuration import config  # noqa: E402
from mutmut.mutation import file_mutation  # noqa: E402
from mutmut.mutation.mutators import mutation_operators  # noqa: E402

#: Tests that something is remembered, which nothing is here.
REMEMBERING: Final = (
    "tests/unit/law/test_said.py::"
    "test_what_is_remembered_belongs_to_its_values_and_cannot_be_changed",
)
#: What is changed, the tests that must notice, and which of those are left out: half of the
#: scenarios, since the engine is the same behind both fronts, and what does not reach it.
GROUPS: Final = {
    "law": (
        ("law/*", "keys.py", "namespaces.py", "queries.py"),
        ("tests/unit", "--ignore=tests/unit/test_fields_hypothesis.py"),
    ),
    "engine": (
        (
            "admitting.py", "boarding.py", "collecting.py", "compression.py", "debugging.py",
            "engine.py", "exchange.py", "flights.py", "forgetting.py", "groups.py",
            "identification.py", "inspecting.py", "invalidating.py", "leasing.py", "look.py",
            "looking.py", "marking.py", "owed.py", "pages.py", "planning.py", "reading.py",
            "remarks.py", "state.py", "status.py", "variants.py", "verdicts.py", "views.py",
            "writing.py", "wrote.py",
        ),
        (
            "tests/unit", "tests/engine", "tests/scenarios", "--ignore=tests/unit/law",
            "--ignore-glob=tests/unit/test_fields*", "-k", "not asgi",
        ),
    ),
}  # fmt: skip

#: Seconds for one test: a change may make it run for ever.
PATIENCE: Final = 60

# Conditions that mutmut changes by itself, at their operator.
_CHANGED: Final = (cst.Comparison, cst.BooleanOperation, cst.UnaryOperation)
_CONSTANT: Final = m.Name("None") | m.Name("True") | m.Name("False")
_DECORATOR: Final = m.Decorator(m.Name("property") | m.Name("cache") | m.Call(m.Name("lru_cache")))


def _bracketed(node: Any) -> Any:
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def negate(node: cst.If | cst.While | cst.CompIf) -> Iterable[cst.CSTNode]:
    """``if x`` becomes ``if not (x)``."""
    if not isinstance(node.test, _CHANGED):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), _bracketed(node.test)))


def drop_operand(node: cst.BooleanOperation) -> Iterable[cst.CSTNode]:
    """``a and b`` becomes ``a``, and ``b``."""
    yield _bracketed(node.left)
    yield _bracketed(node.right)


def drop_element(node: cst.Tuple | cst.Set | cst.List) -> Iterable[cst.CSTNode]:
    """``(a, b)`` becomes ``(a,)``, and ``(b,)``."""
    for element in node.elements if len(node.elements) > 1 else ():
        kept = [other for other in node.elements if other is not element]
        kept[-1] = kept[-1].with_changes(comma=cst.Comma())
        yield node.with_changes(elements=kept)


def drop_statement(node: cst.Expr) -> Iterable[cst.CSTNode]:
    """A call or an await whose value nobody takes becomes ``pass``."""
    if isinstance(node.value, cst.Call | cst.Await):
        yield cst.Pass()


def return_nothing(node: cst.Return) -> Iterable[cst.CSTNode]:
    """``return x`` becomes ``return None``."""
    if node.value is not None and not m.matches(node.value, _CONSTANT):
        yield node.with_changes(value=cst.Name("None"))


mutation_operators += [  # type: ignore[operator]
    (cst.If, negate),
    (cst.While, negate),
    (cst.CompIf, negate),
    (cst.BooleanOperation, drop_operand),
    (cst.Tuple, drop_element),
    (cst.Set, drop_element),
    (cst.List, drop_element),
    (cst.Expr, drop_statement),
    (cst.Return, return_nothing),
]


def _is_decorated(node: cst.CSTNode) -> bool:
    return (
        isinstance(node, cst.FunctionDef)
        and len(node.decorators) == 1
        and m.matches(node.decorators[0], _DECORATOR)
    )


_skip = file_mutation.MutationVisitor._skip_node_and_children
_arrange = file_mutation.function_trampoline_arrangement


def _skip_less(self: Any, node: cst.CSTNode) -> bool:
    return not _is_decorated(node) and _skip(self, node)


def _arrange_decorated(function: cst.FunctionDef, *args: Any, **options: Any) -> Sequence[Any]:
    """The decorator stays at what calls the changed copies, which are plain functions."""
    declared, nodes, assigned, names = _arrange(function, *args, **options)
    if _is_decorated(function):
        nodes = [nodes[0], *(node.with_changes(decorators=[]) for node in nodes[1:])]
    return declared, nodes, assigned, names


file_mutation.MutationVisitor._skip_node_and_children = _skip_less  # type: ignore[method-assign]
file_mutation.function_trampoline_arrangement = _arrange_decorated  # type: ignore[assignment]

if __name__ == "__main__":
    modules, tests = GROUPS[sys.argv.pop(1)]
    config().only_mutate[:] = [f"pagegen/{name}" for name in modules]
    config().pytest_add_cli_args_test_selection[:] = tests
    config().pytest_add_cli_args += [f"--deselect={test}" for test in REMEMBERING]
    config().pytest_add_cli_args.append(f"--timeout={PATIENCE}")
    cli()
