"""Marks: the registers of those who write rows at this moment."""

from __future__ import annotations

import pytest

from pagegen.law import marks
from pagegen.namespaces import RESERVED


@pytest.mark.parametrize("namespace", ["page", "item:7", "a:0:b"])
def test_a_mark_is_of_one_namespace_and_its_name_tells_which(namespace: str) -> None:
    made = [marks.mark(number, namespace) for number in range(marks.MARKS)]
    assert len(set(made)) == marks.MARKS == 4
    assert made[1] == f"{RESERVED}writing:1:{namespace}"
    assert {marks.namespace(name) for name in made} == {namespace}


def test_a_urls_namespace_has_no_marks() -> None:
    assert marks.marked("page")
    assert not marks.marked("url:localhost/page")
    assert marks.marks(["url:localhost/page"]) == ()


def test_a_plans_marks_are_those_of_each_of_its_namespaces_once() -> None:
    found = marks.marks(["a", "url:localhost/a", "b", "a"])
    assert found == tuple(marks.mark(number, name) for name in "ab" for number in range(4))
