"""Lines of the log: one line each, nothing that steers a terminal, whatever is told in them."""

from __future__ import annotations

import ast
import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagegen
from pagegen.logs import MAX_CAUSE, MAX_CHAIN, MAX_SAID, _make_plain, cause, escaped, kind, logger
from pagegen.testing.check.events import Read
from pagegen.testing.check.report import table
from pagegen.testing.check.verdict import Finding, Promise, Verdict

PACKAGE = Path(pagegen.__file__).parent
#: What ends a line, moves a cursor, turns text around or is none: each of them alone.
HOSTILE = [
    *("\r", "\n", "\x00", "\x07", "\x08", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\x85", "\x9b31m"),
    *("\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\u200f", "\ufeff", "\ud800"),
    *("\u00ad", "\u200b", "\U000e0041", "\ue000", "\t"),
]
FORGED = "\n2026-01-01 ERROR root: forged"


class Lines:
    """What a handler of the standard library writes for one logger."""

    def __init__(self) -> None:
        self.stream = StringIO()
        self.records: list[logging.LogRecord] = []
        self.log = logger("pagegen.security.test")
        self.log.setLevel(logging.DEBUG)
        self.log.propagate = False
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.log.addHandler(self.handler)
        self.log.addFilter(self.keep)

    def keep(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return True

    def text(self) -> str:
        """What was written since the last time, without the line's end."""
        said = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return said.removesuffix("\n")


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    yield made
    made.log.removeHandler(made.handler)
    made.log.removeFilter(made.keep)


class Odd:
    """An object that says anything."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
@pytest.mark.parametrize("form", ["%s", "%r", "%-20s|"])
@pytest.mark.parametrize("make", [str, Odd, ValueError, Path, str.encode], ids=lambda m: m.__name__)
def test_no_argument_leaves_with_what_cannot_be_printed(
    lines: Lines, hostile: str, form: str, make: Callable[[Any], object]
) -> None:
    text = f"a{hostile}b".encode("utf-8", "replace").decode() if make is str.encode else None
    lines.log.warning(f"said {form} of %d", make(text or f"a{hostile}b"), 7)
    said = lines.text()
    assert said.isprintable()
    assert said.startswith("WARNING said ") and said.endswith(" of 7")


@given(st.text(st.characters()), st.text(st.characters()), st.integers())
def test_whatever_is_told_is_one_line(first: str, second: str, number: int) -> None:
    """A record as our calls make them, past the filter."""
    args = (first, Odd(second), number)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s, %r: %d", args, None)
    assert _make_plain(record)
    assert record.getMessage().isprintable()


def test_a_text_written_into_the_template_is_escaped_too(lines: Lines) -> None:
    lines.log.error(f"said{FORGED}")
    lines.log.error("said %(what)s", {"what": FORGED})
    first, second = lines.text().split("\n")
    assert first == "ERROR said\\n2026-01-01 ERROR root: forged"
    assert second == "ERROR said \\n2026-01-01 ERROR root: forged"


def test_a_long_text_is_cut_and_numbers_stay_numbers(lines: Lines) -> None:
    lines.log.error("%s %.2f %s %s", "x" * 10 * MAX_SAID, 1.5, None, True)
    assert lines.text() == f"ERROR {'x' * MAX_SAID}… 1.50 None True"


def test_what_cannot_be_shown_breaks_no_request(lines: Lines) -> None:
    lines.log.error("%s %r", Broken(), Broken())
    assert lines.text() == "ERROR <Broken that cannot be shown> <Broken that cannot be shown>"


def hostile_errors() -> dict[str, BaseException]:
    """Errors that say what forges a line, each in another place."""
    first = ValueError(FORGED)
    later = RuntimeError("later")
    later.__cause__ = first
    context = RuntimeError("meanwhile")
    context.__context__ = first
    noted = RuntimeError("noted")
    noted.add_note(FORGED)
    circle = RuntimeError(FORGED)
    circle.__cause__ = RuntimeError("round")
    circle.__cause__.__cause__ = circle
    return {
        "itself": first,
        "cause": later,
        "context": context,
        "note": noted,
        "group": ExceptionGroup("several", [first, KeyError("\x1b]0;")]),
        "circle": circle,
        "long": ValueError("x" * 10 * MAX_SAID),
    }


@pytest.mark.parametrize("which", hostile_errors())
def test_what_an_exception_says_forges_no_line(lines: Lines, which: str) -> None:
    error = hostile_errors()[which]
    try:
        raise error
    except BaseException as caught:
        assert caught is error
        lines.log.exception("it failed")
    said = lines.text()
    assert all(line.isprintable() for line in said.split("\n"))
    assert "\n2026" not in said
    assert "in test_what_an_exception_says_forges_no_line" in said
    assert len(said) < 4 * MAX_SAID
    (record,) = lines.records
    assert record.exc_info is not None and record.exc_info[1] is error  # for who reports errors


def test_a_harmless_exception_is_formatted_as_anybody_has_it(lines: Lines) -> None:
    lines.handler.setFormatter(Mine("%(message)s"))
    try:
        raise ValueError("harmless")
    except ValueError:
        lines.log.exception("it failed")
    assert lines.text() == "it failed\nmine: harmless"


class Mine(logging.Formatter):
    """A formatter that writes exceptions its own way."""

    def formatException(self, ei: Any) -> str:
        return f"mine: {ei[1]}"


def test_a_chain_without_end_is_told_to_a_bound(lines: Lines) -> None:
    error: BaseException = ValueError(FORGED)
    for _ in range(10 * MAX_CHAIN):
        following = ValueError(FORGED)
        following.__cause__ = error
        error = following
    lines.log.error("it failed", exc_info=error)
    assert lines.text().count("Traceback") == MAX_CHAIN


def test_an_error_of_others_is_told_by_its_kind_and_first_line() -> None:
    sql = OSError("(psycopg.Error) gone\n[SQL: UPDATE users]\n[parameters: ('ada',)]")
    assert cause(sql) == "OSError: (psycopg.Error) gone"
    assert len(cause(OSError("x" * 10_000))) == MAX_CAUSE + 1
    assert cause(OSError()) == "OSError: "
    assert cause(OSError("\x1b[2J")) == "OSError: \\x1b[2J"


def test_a_place_is_told_without_the_text() -> None:
    try:
        raise KeyError("ada")
    except KeyError as error:
        said = kind(error)
    assert said.startswith("KeyError at ") and "test_logs.py:" in said and "ada" not in said
    assert kind(KeyError("ada")) == "KeyError"


@given(st.text(st.characters()))
def test_escaping_leaves_what_can_be_printed_as_it_is(text: str) -> None:
    said = escaped(text)
    assert said.isprintable()
    assert said == text or not text.isprintable() or len(text) > MAX_SAID


# No call goes another way ---------------------------------------------------------------------

#: Who may ask for a logger without our filter, since they log nothing themselves: one silences all
#: of ours, one sets the level of werkzeug's.
SETTERS = {"logs.py", "testing/explorer/search.py", "testing/proxy/__main__.py"}
LEVELS = {f"log.{n}" for n in ("debug", "info", "warning", "error", "exception", "critical", "log")}
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def calls(module: str) -> Iterator[ast.Call]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_every_logger_is_made_where_lines_are_made_plain() -> None:
    other = ("logging.getLogger", "getLogger", "warnings.warn", "print", "sys.stderr.write")
    found = {module for module in MODULES for call in calls(module) if called(call) in other}
    assert found == SETTERS


def test_what_is_told_stands_in_arguments_and_the_template_in_the_code() -> None:
    """A template made at run time would be grouped by nothing, and formatted with what it holds."""
    seen = 0
    for module in MODULES:
        for call in calls(module):
            if called(call) not in LEVELS:
                continue
            seen += 1
            template = call.args[1 if called(call) == "log.log" else 0]
            texts = [n.value for n in ast.walk(template) if isinstance(n, ast.Constant)]
            assert texts and not any(isinstance(n, ast.JoinedStr) for n in ast.walk(template)), (
                f"{module}:{call.lineno}"
            )
    assert seen > 30


def test_all_loggers_that_there_are_have_the_filter() -> None:
    found = set()
    for module in pkgutil.walk_packages(pagegen.__path__, "pagegen."):
        if module.name.startswith("pagegen.contrib.django") or module.name.endswith("__main__"):
            continue  # needs settings; the loggers' names are those above
        log = getattr(importlib.import_module(module.name), "log", None)
        if isinstance(log, logging.Logger):
            assert _make_plain in log.filters, module.name
            found.add(log.name)
    assert {"pagegen.engine", "pagegen.stores", "pagegen.wsgi", "pagegen.asgi"} <= found


def test_the_live_checkers_report_shows_no_control_characters_of_the_application() -> None:
    told = "page of \x1b[2Jada\r\u202e"
    read = Read(
        client=1, page=told, sent=0, answered=1, versions=(("a", 1),), how=told, made=1,
        rendering=told,
    )  # fmt: skip
    finding = Finding(Promise.ISOLATION, 1, 1, [told], [(read,)])
    said = table(Verdict((finding,), frozenset()))
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.count("\\x1b[2Jada\\r\\u202e") == 4
