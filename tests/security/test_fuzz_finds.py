"""What fuzzing has found, each with the smallest input that showed it."""

from __future__ import annotations

import pytest

from pagegen.contrib.sqlalchemy.guard import deleted, written
from pagegen.messages import wire_form
from pagegen.stores.codec import Codec
from tests.security.fuzz.of_stores import page_of


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("-- update\ninsert into items values (1)", "items"),
        ("/* a copy */ /* copy\n*/ insert into items values (1)", "items"),
        ("-- what follows is a copy\nREPLACE INTO items VALUES (1)", "items"),
        ("-- truncate\nupdate items set a = 1", "items"),
    ],
)
def test_a_word_in_a_comment_does_not_hide_the_write_behind_it(statement: str, table: str) -> None:
    assert table in written(statement)


def test_what_a_statement_deletes_it_also_writes() -> None:
    statement = "copy REPLACE INTO items SELECT 1"
    assert deleted(statement) == {"items"} <= written(statement)


def test_names_of_fields_are_in_lower_case_alike_before_and_behind_a_store() -> None:
    # Latin-1 has capitals of its own; a stored page has no text to ask for them.
    fields = (("\xd3Name", "v"),)
    page = page_of(b"\x01\x05\xd3Name\x01v")
    assert page.fields == fields
    stored = Codec().decode(Codec().encode(page))
    assert stored is not None
    assert stored.wire_fields == wire_form(fields) == ((b"\xd3name", b"v"),)
