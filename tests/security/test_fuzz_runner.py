"""The runner of fuzzers: what it tells of a run, and how a find is tried again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.security.fuzz import __main__ as runner
from tests.security.fuzz.targets import Broken, Reader, all_targets, lines

LOG: Final = """\
#2\tINITED cov: 21 ft: 24 corp: 1/1b exec/s: 0 rss: 45Mb
#30217\tREDUCE cov: 25 ft: 103 corp: 30/434b lim: 142 exec/s: 6043 rss: 56Mb L: 21/76
#52354\tDONE   cov: 26 ft: 104 corp: 31/404b lim: 317 exec/s: 4759 rss: 56Mb
Done 52354 runs in 11 second(s)
stat::number_of_executed_units: 52354
"""
#: libFuzzer's last words of a run that found something.
CRASHED: Final = LOG.replace("Done 52354 runs in 11 second(s)", "== ERROR: libFuzzer: found")


def test_the_outcome_of_a_run_is_read_from_its_log() -> None:
    outcome = runner.outcome_of("dates", LOG, [])
    assert outcome == runner.Outcome("dates", 52354, 11, 26, 104, 31, ())


def test_a_find_is_told_with_how_to_try_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = runner.outcome_of("dates", CRASHED, [Path("/tmp/finds/crash-1")])
    assert (outcome.finds, outcome.failed) == (("/tmp/finds/crash-1",), "")
    table = runner._table([outcome])
    assert "python -m tests.security.fuzz --replay dates /tmp/finds/crash-1" in table


def test_a_run_that_could_not_begin_is_no_success() -> None:
    outcome = runner.outcome_of("dates", "ImportError: no module of this name", [])
    assert "ImportError" in outcome.failed
    assert "ImportError" in runner._table([outcome])


def test_a_run_for_machines_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "find_spec", lambda _: True)
    monkeypatch.setattr(runner, "fuzz", lambda target, *_: runner.outcome_of(target.name, LOG, []))
    assert runner.main(["--json", "dates", "hosts"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["target"], each["executions"]) for each in told] == [
        ("dates", 52354),
        ("hosts", 52354),
    ]


def test_finds_and_failures_are_told_by_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "find_spec", lambda _: True)
    for log, finds in ((CRASHED, [Path("/tmp/crash-1")]), ("", [])):
        outcome = runner.outcome_of("dates", log, finds)
        monkeypatch.setattr(runner, "fuzz", lambda *_, outcome=outcome: outcome)
        assert runner.main(["dates"]) == 1


def test_without_its_library_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "find_spec", lambda _: None)
    assert runner.main(["dates"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_an_unknown_target_is_named_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert runner.main(["nonsense"]) == 2
    assert "nonsense" in (said := capsys.readouterr().err)
    assert "query-strings" in said


def test_one_input_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"Sun, 06 Nov 1994 08:49:37 GMT")
    assert runner.main(["--replay", "dates", str(file)]) == 0
    monkeypatch.setattr("pagegen.fields._offset", lambda zone: 60)
    with pytest.raises(Broken, match="another moment"):
        runner.main(["--replay", "dates", str(file)])


def test_every_target_has_words_that_libfuzzer_can_read() -> None:
    for target in all_targets().values():
        for line in runner.words_of(target).splitlines():
            assert bytes.fromhex(line[1:-1].replace("\\x", "")) in [
                word.encode("latin-1", "replace") for word in target.words
            ]


def test_inputs_are_taken_apart_to_their_end_and_not_behind_it() -> None:
    reader = Reader(b"\x03abcd\x05")
    assert (reader.some(), reader.number(7), reader.take(9)) == (b"abc", ord("d") % 7, b"\x05")
    assert (reader.number(300), reader.some(), reader.rest) == (0, b"", b"")
    assert lines(b"a\nb\nc", 2) == ["a", "b\nc"]
    assert lines(b"", 2) == ["", ""]
