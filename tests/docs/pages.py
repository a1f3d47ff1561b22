"""The documentation as data: its pages, their fenced blocks, tables, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`([^`]+)`")
_FILE: Final = re.compile(r"# ([a-z_]+\.(?:py|toml))\b")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``line`` is that of its first line of code, counted from 1."""

    info: str
    line: int
    code: str

    @property
    def file(self) -> str | None:
        """The file that the block's first line names, as in ``# app.py``."""
        match = _FILE.match(self.code)
        return match[1] if match else None


@cache
def pages() -> tuple[str, ...]:
    """All pages, as paths below the root of the project."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", *found)


@cache
def text(page: str) -> str:
    """The source of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(text(page).splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence is not None:
                opened, lines = (fence["info"].strip(), fence["indent"], number + 1), []
        elif fence is not None and not fence["info"].strip():
            info, _, first = opened
            yield Block(info, first, "\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line.removeprefix(opened[1]))
    assert opened is None, f"{page}: the block of line {opened and opened[2]} has no end"


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text(page), flags=re.MULTILINE | re.DOTALL)


def links(page: str) -> tuple[str, ...]:
    """Targets of all links and images of a page."""
    return tuple(_LINK.findall(re.sub(r"`[^`]*`", "", prose(page))))


def anchors(page: str) -> frozenset[str]:
    """What a link to this page may name behind ``#``: its headings, spelled as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.strip().replace(" ", "-") for heading in plain)


def section(page: str, heading: str) -> str:
    """The text under one heading, up to the next one of any level."""
    match = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", prose(page), re.MULTILINE | re.DOTALL
    )
    assert match is not None, f"{page} has no section {heading!r}"
    return match[1]


def rows(part: str) -> list[list[str]]:
    """The cells of all table rows in a part of a page, heads and rulers left out."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rulers = {i for i, line in enumerate(lines) if set(line) <= set("|-: ")}
    heads = {i - 1 for i in rulers}
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for i, line in enumerate(lines)
        if i not in rulers | heads
    ]


def code(cell: str) -> list[str]:
    """The pieces of code in a cell."""
    return _CODE.findall(cell)
