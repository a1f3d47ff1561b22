"""What tests read out of the demo's pages, and what they know of its data from the file itself."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import unescape
from html.parser import HTMLParser
from typing import Final

from demo_app.load import CATALOGUE

_VOID: Final = frozenset(("link", "meta", "img", "input", "br"))
_ROW: Final = re.compile(r'class="name" href="/packages/([^"]+)"')
_FIGURE: Final = re.compile(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>")


@cache
def rows() -> Sequence[Mapping[str, str]]:
    """The packages as the data file has them."""
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def listed(html: str) -> list[str]:
    """Slugs of the packages in a page's table, in order."""
    return _ROW.findall(html)


def figures(html: str) -> dict[str, str]:
    """Terms and values of a package's page."""
    return {term: unescape(value) for term, value in _FIGURE.findall(html)}


def fans(html: str) -> list[int]:
    """Users whose favourite a package is, the latest first."""
    found = re.search(r'data-fans="([0-9 ]*)"', html)
    assert found is not None
    return [int(user) for user in found[1].split()]


class Document(HTMLParser):
    """A page, read strictly: what is opened is closed, in order, and no id stands twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.references: set[str] = set()
        self.links: set[str] = set()
        self.assets: set[str] = set()
        self.actions: set[str] = set()
        self.headings: list[str] = []
        self.title = ""
        self._open: list[str] = []
        assert html.startswith("<!doctype html>")
        self.feed(html)
        self.close()
        assert self._open == []
        # SVG refers to its gradient, labels to their field.
        assert self.references <= self.ids, self.references - self.ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._read(tag, {name: value or "" for name, value in attrs})
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._read(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["h1"]:
            self.headings.append(data)
        if self._open == ["html", "head", "title"]:
            self.title += data

    def _read(self, tag: str, attributes: dict[str, str]) -> None:
        if "id" in attributes:
            assert attributes["id"] not in self.ids, attributes["id"]
            self.ids.add(attributes["id"])
        for name in ("aria-labelledby", "aria-describedby", "for"):
            self.references.update(attributes.get(name, "").split())
        if tag in ("a", "link") and attributes["href"].startswith("/"):
            (self.links if tag == "a" else self.assets).add(attributes["href"])
        if tag in ("img", "script"):
            self.assets.add(attributes["src"])
        if tag == "form":
            assert attributes["method"] == "post"
            self.actions.add(attributes["action"])
