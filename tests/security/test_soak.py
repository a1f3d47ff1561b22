"""All attacks at once on the demo under real servers, while people use it; and the judge of that.

``PAGEGEN_SOAK`` says for how many seconds; ``python -m tests.security.soak`` tells what it found.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

import pytest

from pagegen.testing import Answer
from tests.security.soak import attacks, wire
from tests.security.soak.attacks import Attack
from tests.security.soak.judging import Judge
from tests.security.soak.running import ATTACKERS, LINGERING, ROOM, Found, Weight, soak
from tests.security.soak.telling import broken, summary
from tests.serving import load_database

SECONDS: Final = float(os.environ.get("PAGEGEN_SOAK", "20"))
#: Beside the soak itself: servers start, those who wait have their end, and 5xx are asked again.
_AROUND: Final = 150


@pytest.mark.alone
@pytest.mark.timeout(SECONDS + _AROUND)
def test_under_all_attacks_at_once_every_promise_holds(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shutil.copy(load_database(tmp_path_factory), tmp_path / "catalogue.sqlite")
    found = soak(SECONDS, tmp_path)
    print(summary(found))
    assert not broken(found), "\n".join(broken(found))
    # And there was something to hold them against.
    assert len(found.sent) == len(attacks.QUICK) + len(attacks.LINGERING)
    assert len(found.weights) == 4
    assert all(weight.most >= weight.first > 0 for weight in found.weights.values())
    for decided in ("hit", "bypass: host", "bypass: path", "refused-set-cookie", "refused-cookie"):
        assert found.judge.traces[decided], decided


def _answer(
    body: bytes = b"", *, status: int = 200, fields: Iterable[tuple[str, str]] = ()
) -> Answer:
    return Answer(status, tuple(fields), (body,))


def _breaches(asked: Attack, *answers: Answer) -> list[str]:
    judge = Judge()
    judge.look("uvicorn", asked, list(answers))
    return [breach.splitlines()[0] for breach in judge.breaches]


HIT: Final = ("Cache-Status", "pagegen; hit; ttl=9")
MINE: Final = Attack("one", b"GET /own HTTP/1.1\r\nCookie: demo_user=7\r\nX-A: evil-5e\r\n\r\n")
_BIG: Final = b"sha256:" + sha256(b"whole").hexdigest().encode() + b"\nwhole"
_SID: Final = ("Set-Cookie", f"sid=fresh-{'a' * 32}; Path=/")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_answer(b'<p data-page-of="8">'), "a page of {8} for {7}"),
        (_answer(b"secret-9-end"), "a page of {9} for {7}"),
        (_answer(fields=[("Location", "/secret-9-end")]), "a page of {9} for {7}"),
        (_answer(b"https://evil-6e.example/"), "words of {6} for {5}"),
        (_answer(fields=[HIT, ("Set-Cookie", "a=b")]), "a cookie from the cache"),
        (_answer(_BIG[:-1]), "a page that is not whole"),
        (_answer(status=500, fields=[HIT]), "an error from the cache"),
        (_answer(fields=[("Cache-Status", "pagegen; fwd=uri-miss; stored; key=ab")]), "a key"),
    ],
)
def test_the_judge_finds_each_broken_promise(answer: Answer, said: str) -> None:
    assert _breaches(MINE, answer) == [f"uvicorn, one: {said}"]


def test_the_judge_finds_a_cookie_that_two_clients_get() -> None:
    fresh = _answer(fields=[_SID])
    assert _breaches(MINE, fresh, fresh) == ["uvicorn, one: a cookie that somebody has already"]


@pytest.mark.parametrize(
    "answer",
    [
        _answer(b'<p data-page-of="7">secret-7-end evil-5e', fields=[HIT]),
        _answer(b'<p data-page-of="nobody">'),
        _answer(_BIG, fields=[HIT]),
        _answer(_BIG[:9], status=206),
        _answer(fields=[_SID]),
        _answer(status=504),
    ],
)
def test_the_judge_lets_pass_what_is_right(answer: Answer) -> None:
    assert _breaches(MINE, answer) == []


def test_a_5xx_is_kept_to_be_tried_without_a_cache_but_for_the_504_of_the_cache() -> None:
    judge = Judge()
    judge.look("uvicorn", MINE, [_answer(status=503)])
    asked = Attack("two", b"GET / HTTP/1.1\r\nCache-Control: only-if-cached\r\n\r\n")
    judge.look("uvicorn", asked, [_answer(status=504)])
    assert judge.failures == [("uvicorn", MINE)]


def test_a_worker_that_grows_pages_that_are_not_kept_and_a_lost_worker_are_told() -> None:
    found = Found(1.0, weights={"a": Weight(1 << 20, ROOM + (3 << 20))}, died=["b: gone"])
    found.unexplained.append("c")
    said = broken(found)
    assert said[0] == "5xx of the cache's own: c"
    assert said[1].startswith("a grew by ")
    assert said[2:] == ["hits: 0%", "b: gone"]
    assert summary(found).count("BROKEN: ") == 4


def test_answers_are_read_one_after_the_other_and_whole_ones_only() -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    two = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
    early = b"HTTP/1.1 100 Continue\r\n\r\n"
    none = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
    found = wire.answers(early + one + two + none + one[:-1])
    assert [(answer.status, answer.body) for answer in found] == [
        (200, b"abc"), (200, b"def"), (304, b""),
    ]  # fmt: skip
    assert [answer.body for answer in wire.answers(one[:-3] + one, "HEAD")] == [b"", b""]


def test_every_kind_of_attack_is_drawn_and_knows_its_own_words() -> None:
    random = Random(1)
    drawn = [attacks.draw(random, number) for number in range(2_000)]
    drawn += [attacks.draw(random, number, lingering=True) for number in range(40)]
    assert len({attack.name for attack in drawn}) == len(attacks.QUICK) + len(attacks.LINGERING)
    marked = [attack for attack in drawn if attack.name == "hidden fields"]
    assert all(attack.marks for attack in marked)
    assert {len(attack.who) for attack in drawn} == {0, 1, 2}
    assert 0 < LINGERING < ATTACKERS
