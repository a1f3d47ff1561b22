"""Every relative link leads somewhere, and every page can be found."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, anchors, links, pages


def _target(page: str, link: str) -> tuple[str, str]:
    """Path below the root and anchor of a relative link."""
    path, _, anchor = link.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    return found.resolve().relative_to(ROOT).as_posix(), anchor


def _relative(page: str) -> list[str]:
    return [link for link in links(page) if "://" not in link and not link.startswith("mailto:")]


@pytest.mark.parametrize("page", pages())
def test_relative_links_resolve(page: str) -> None:
    for link in _relative(page):
        path, anchor = _target(page, link)
        assert (ROOT / path).exists(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(path), f"{page} links to {link}"


def test_every_page_is_reached_from_the_index() -> None:
    listed = {_target("docs/index.md", link)[0] for link in _relative("docs/index.md")}
    assert {page for page in pages() if page.startswith("docs/")} <= listed | {"docs/index.md"}


def test_the_readme_leads_to_the_documentation() -> None:
    assert {"docs/index.md", "LICENSE"} <= {
        _target("README.md", li)[0] for li in links("README.md") if "://" not in li
    }
