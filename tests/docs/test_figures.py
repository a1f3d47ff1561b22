"""Every measured figure in the documentation is that of a run that is kept."""

from __future__ import annotations

import pytest

from benchmarks import figures
from benchmarks.figures import PAGES, RUNS, filled, main, markdown

TABLE = {
    "name": "t",
    "columns": ["what", "noise", "figure"],
    "rows": [
        ["calm", "2%", {"noisy": False, "noise": 0.02, "median": 1.234, "low": 1, "high": 2}],
        ["wild", None, {"noisy": True, "noise": 0.9}],
        ["many", 12_345, 0.5],
    ],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_was_measured_and_nothing_else(page: object) -> None:
    text = PAGES[PAGES.index(page)].read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert filled(text) == text, "run: python -m benchmarks.figures"


def test_every_run_that_is_kept_is_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {run.name for run in RUNS.glob("*.json")} == set(figures._PLACE_FILES.findall(shown))


def test_a_figure_that_was_typed_is_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "run", lambda _file: {"tables": [TABLE]})
    place = "a\n<!-- figures: x.json t: what, figure -->\n{}<!-- end of figures -->\nb\n"
    rows = (
        "| what | figure |\n| --- | --: |\n| calm | 1.23 |\n| wild | too noisy |\n| many | 0.50 |\n"
    )
    assert filled(place.format("| calm | 9.99 |\n")) == place.format(rows)
    assert filled(place.format(rows)) == place.format(rows)


def test_all_columns_are_shown_where_none_is_named() -> None:
    assert markdown(TABLE).splitlines()[-1] == "| many | 12,345 | 0.50 |"


def test_what_the_run_has_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "run", lambda _file: {"tables": [TABLE]})
    with pytest.raises(LookupError, match="no table 'u'"):
        filled("<!-- figures: x.json u -->\n<!-- end of figures -->")
    with pytest.raises(ValueError, match="speed"):
        filled("<!-- figures: x.json t: speed -->\n<!-- end of figures -->")


def test_the_command_says_which_page_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 0
    monkeypatch.setattr(figures, "filled", lambda text: text + "x")
    assert main(["--check"]) == 1
    assert "README.md: differs" in capsys.readouterr().out
