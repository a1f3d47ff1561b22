"""memcached's protocol without a network: what is sent, and what is taken for an answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.stores.memcached import wire
from pagegen.stores.memcached.wire import (
    Change,
    Get,
    Question,
    Replies,
    Rubbish,
    Settings,
    deleting,
    storing,
    swapping,
)

KEYS = [b"a", b"b", b"c", b"d"]
#: Values that look like the protocol itself.
NASTY = [b"", b"\r\n", b"END\r\n", b"\r", b"VALUE a 0 3\r\nabc\r\nEND\r\n", b"x" * 3000]


def read(questions: list[Question], pieces: list[bytes]) -> list[int]:
    """Feed the pieces; how many questions each of them answered."""
    replies = Replies()
    for question in questions:
        replies.expect(question)
    return [replies.feed(piece) for piece in pieces]


def value(key: bytes, body: bytes, unique: int | None = None) -> bytes:
    number = b"" if unique is None else b" %d" % unique
    return b"VALUE %b 0 %d%b\r\n%b\r\n" % (key, len(body), number, body)


def result(question: Question) -> object:
    """All that a question knows of its answer."""
    if isinstance(question, Get):
        return question.values, question.numbers, question.refusal, question.size
    if isinstance(question, Change):
        return question.done, question.refusal
    assert isinstance(question, Settings)
    return question.found, question.refusal


# What is sent.


@pytest.mark.parametrize(
    ("question", "sent"),
    [
        (Get([b"a", b"b", b"a"]), b"get a b\r\n"),
        (Get([b"a"], unique=True), b"gets a\r\n"),
        (
            storing(b"set", {b"a": b"12", b"b": b""}, 30),
            b"set a 0 30 2\r\n12\r\nset b 0 30 0\r\n\r\n",
        ),
        (storing(b"add", {b"a": b"\r\n"}, 2), b"add a 0 2 2\r\n\r\n\r\n"),
        (swapping(b"a", b"1", 77, -1), b"cas a 0 -1 1 77\r\n1\r\n"),
        (deleting([b"a", b"b", b"a"]), b"delete a\r\ndelete b\r\n"),
        (Settings(), b"stats settings\r\n"),
    ],
    ids=["get", "gets", "set", "add", "cas", "delete", "settings"],
)
def test_a_question_is_sent_as_the_protocol_has_it(question: Question, sent: bytes) -> None:
    assert question.request == sent


@pytest.mark.parametrize("key", [b"", b"a b", b"a\r\nflush_all", b"a\n", b"\ta"])
def test_a_key_that_would_be_read_as_something_else_is_never_sent(key: bytes) -> None:
    makers: list[Callable[[], Question]] = [
        lambda: Get([b"ok", key]),
        lambda: storing(b"set", {key: b""}, 1),
        lambda: swapping(key, b"", 1, 1),
        lambda: deleting([key]),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="a key is empty or has a space in it"):
            make()


# What is taken for an answer.


def test_a_multi_get_has_the_values_that_are_there() -> None:
    question = Get(KEYS)
    answer = value(b"b", b"two") + value(b"d", b"END\r\n") + b"END\r\n"
    assert read([question], [answer]) == [1]
    assert question.values == {b"b": b"two", b"d": b"END\r\n"}
    assert question.size == 8


def test_gets_has_the_number_too() -> None:
    question = Get([b"a"], unique=True)
    assert read([question], [value(b"a", b"v", 2**64 - 1) + b"END\r\n"]) == [1]
    assert (question.values, question.numbers) == ({b"a": b"v"}, {b"a": 2**64 - 1})


def test_each_command_of_a_change_has_its_own_word() -> None:
    change = storing(b"add", {b"a": b"", b"b": b"", b"c": b""}, 9)
    words = b"STORED\r\nNOT_STORED\r\nSTORED\r\n"
    assert read([change], [words]) == [1]
    assert change.done == [b"a", b"c"]
    swap = swapping(b"a", b"", 1, 1)
    assert read([swap], [b"EXISTS\r\n"]) == [1]
    assert swap.done == []
    delete = deleting([b"a", b"b"])
    assert read([delete], [b"NOT_FOUND\r\nDELETED\r\n"]) == [1]
    assert delete.done == [b"a", b"b"]


def test_a_server_error_is_an_answer_and_the_next_one_is_read() -> None:
    big = storing(b"set", {b"a": b"", b"b": b""}, 9)
    get, settings, after = Get([b"a"]), Settings(), Get([b"b"])
    said = (
        b"SERVER_ERROR object too large for cache\r\nSTORED\r\n"
        b"SERVER_ERROR out of memory writing get response\r\n"
        b"SERVER_ERROR no\r\n" + value(b"b", b"ok") + b"END\r\n"
    )
    assert read([big, get, settings, after], [said]) == [4]
    assert big.done == [b"b"]
    assert big.refusal == b"SERVER_ERROR object too large for cache"
    assert get.refusal.startswith(b"SERVER_ERROR out of memory")
    assert settings.refusal == b"SERVER_ERROR no"
    assert (after.values, after.refusal) == ({b"b": b"ok"}, b"")


def test_settings_are_read_by_name() -> None:
    question = Settings()
    said = b"STAT maxbytes 67108864\r\nSTAT inter a b c\r\nSTAT memory_file \r\nEND\r\n"
    assert read([question], [said]) == [1]
    assert question.found == {"maxbytes": "67108864", "inter": "a b c", "memory_file": ""}


Asking = Callable[[], list[Question]]


def nothing() -> list[Question]:
    return []


def get_a() -> list[Question]:
    return [Get([b"a"])]


def get_ab() -> list[Question]:
    return [Get([b"a", b"b"])]


def gets_a() -> list[Question]:
    return [Get([b"a"], unique=True)]


def set_a() -> list[Question]:
    return [storing(b"set", {b"a": b""}, 1)]


def delete_a() -> list[Question]:
    return [deleting([b"a"])]


def settings() -> list[Question]:
    return [Settings()]


RUBBISH: dict[str, tuple[Asking, bytes]] = {
    "a key that nobody asked for": (get_a, value(b"z", b"1")),
    "a key twice": (get_a, value(b"a", b"1") + value(b"a", b"2")),
    "a value longer than it said": (get_a, b"VALUE a 0 1\r\n12\r\nEND\r\n"),
    "a value shorter than it said": (get_a, b"VALUE a 0 3\r\n1\r\nEND\r\n"),
    "no line's end after a value": (get_a, b"VALUE a 0 1\r\n1..END\r\n"),
    "half a line's end after a value": (get_a, b"VALUE a 0 1\r\n1\rEND\r\n"),
    "a length below zero": (get_a, b"VALUE a 0 -1\r\n"),
    "a length that is no number": (get_a, b"VALUE a 0 1_0\r\n"),
    "a length of twenty digits": (get_a, b"VALUE a 0 00000000000000000001\r\n"),
    "flags that are none": (get_a, b"VALUE a x 1\r\n"),
    "a number in a plain get": (get_a, value(b"a", b"1", 7)),
    "no number in a gets": (gets_a, value(b"a", b"1")),
    "two spaces": (get_a, b"VALUE a  0 1\r\n"),
    "an error of ours": (get_a, b"CLIENT_ERROR line too long\r\n"),
    "a command that it does not know": (get_a, b"ERROR\r\n"),
    "an error after a value": (get_ab, value(b"a", b"1") + b"SERVER_ERROR x\r\n"),
    "an empty line": (get_a, b"\r\nEND\r\n"),
    "another protocol": (get_a, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a word in lower case": (set_a, b"stored\r\n"),
    "the word of another command": (set_a, b"DELETED\r\n"),
    "the end of a get for a change": (delete_a, b"END\r\n"),
    "one word too many": (delete_a, b"DELETED\r\nDELETED\r\n"),
    "a bad chunk": (set_a, b"CLIENT_ERROR bad data chunk\r\n"),
    "a value for settings": (settings, value(b"a", b"1")),
    "an answer to no question": (nothing, b"END\r\n"),
    "more than was asked": (get_a, b"END\r\nEND\r\n"),
}


@pytest.mark.parametrize("one_by_one", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_is_never_an_answer(case: str, one_by_one: bool) -> None:
    asking, said = RUBBISH[case]
    pieces = [said[at : at + 1] for at in range(len(said))] if one_by_one else [said]
    with pytest.raises(Rubbish):
        read(asking(), pieces)


def test_a_line_has_a_bound() -> None:
    fits = b"STAT x " + b"y" * (wire.MAX_LINE - 9) + b"\r\n"
    question = Settings()
    assert read([question], [fits + b"END\r\n"]) == [1]
    with pytest.raises(Rubbish, match="does not end"):
        read([Settings()], [b"STAT x " + b"y" * (wire.MAX_LINE - 8) + b"\r\nEND\r\n"])
    with pytest.raises(Rubbish, match="does not end"):
        read([Settings()], [b"y" * 1000] * (wire.MAX_LINE // 1000 + 1))


def test_settings_have_a_bound() -> None:
    lines = [b"STAT %d x\r\n" % number for number in range(wire.MAX_SETTINGS)]
    assert read([Settings()], [*lines, b"END\r\n"])[-1] == 1
    with pytest.raises(Rubbish):
        read([Settings()], [*lines, b"STAT one more\r\n"])


def test_the_values_of_an_answer_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_REPLY", 1000)
    fits = value(b"a", b"x" * 600) + value(b"b", b"y" * 400) + b"END\r\n"
    assert read([Get(KEYS)], [fits]) == [1]
    with pytest.raises(Rubbish, match="1001 bytes"):
        # It is refused before it has come.
        read([Get(KEYS)], [value(b"a", b"x" * 600), b"VALUE b 0 401\r\n"])


# However it was cut on its way.


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[list[Callable[[], Question]], bytes]:
    """Questions, and what a server says to them."""
    makers: list[Callable[[], Question]] = []
    said = []
    bodies = st.one_of(st.sampled_from(NASTY), st.binary(max_size=40))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["get", "gets", "set", "delete", "settings", "refused"]))
        present = draw(st.lists(st.sampled_from(KEYS), unique=True))
        if kind in ("get", "gets"):
            unique = kind == "gets"
            makers.append(lambda unique=unique: Get(KEYS, unique=unique))
            said += [value(key, draw(bodies), 9 if unique else None) for key in present]
            said.append(b"END\r\n")
        elif kind == "set":
            makers.append(lambda: storing(b"set", dict.fromkeys(KEYS, b"v"), 5))
            words = [b"STORED\r\n", b"NOT_STORED\r\n", b"SERVER_ERROR out of memory\r\n"]
            said += [draw(st.sampled_from(words)) for _ in KEYS]
        elif kind == "delete":
            makers.append(lambda: deleting(KEYS))
            said += [draw(st.sampled_from([b"DELETED\r\n", b"NOT_FOUND\r\n"])) for _ in KEYS]
        elif kind == "settings":
            makers.append(Settings)
            said += [b"STAT %b %b\r\n" % (key, key * 3) for key in present] + [b"END\r\n"]
        else:
            makers.append(lambda: Get(KEYS))
            said.append(b"SERVER_ERROR no\r\n")
    return makers, b"".join(said)


@given(exchanges(), st.data())
def test_answers_are_the_same_however_they_were_cut(
    exchange: tuple[list[Callable[[], Question]], bytes], data: st.DataObject
) -> None:
    makers, said = exchange
    whole = [make() for make in makers]
    assert read(whole, [said]) == [len(whole)]
    cuts = data.draw(st.lists(st.integers(0, len(said)), max_size=12))
    pieces = [said[a:b] for a, b in pairwise([0, *sorted(cuts), len(said)])]
    cut = [make() for make in makers]
    assert sum(read(cut, pieces)) == len(cut)
    assert list(map(result, cut)) == list(map(result, whole))


def test_answers_are_the_same_cut_at_every_single_byte() -> None:
    said = (
        value(b"a", NASTY[4]) + value(b"c", b"") + b"END\r\n"
        b"STORED\r\nSERVER_ERROR out of memory\r\n"
        b"STAT a b\r\nEND\r\n" + value(b"a", b"\r\n", 3) + b"END\r\n"
    )

    def ask() -> list[Question]:
        items = {b"a": b"", b"b": b""}
        return [Get(KEYS), storing(b"set", items, 1), Settings(), Get([b"a"], unique=True)]

    whole = ask()
    assert read(whole, [said]) == [4]
    for cut in range(1, len(said)):
        halves = ask()
        assert sum(read(halves, [said[:cut], said[cut:]])) == 4
        assert list(map(result, halves)) == list(map(result, whole))
    single = ask()
    assert sum(read(single, [said[at : at + 1] for at in range(len(said))])) == 4
    assert list(map(result, single)) == list(map(result, whole))


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_at_all_raise_anything_but_rubbish(noise: bytes, at: int) -> None:
    said = value(b"a", b"12345") + value(b"b", b"") + b"END\r\nSTORED\r\nSTAT a b\r\nEND\r\n"
    questions = [Get([b"a", b"b"]), storing(b"set", {b"a": b""}, 1), Settings()]
    at = min(at, len(said))
    try:
        read(questions, [said[:at] + noise, said[at:]])
    except Rubbish:
        return
    get = questions[0]
    assert isinstance(get, Get)
    assert get.values.keys() <= {b"a", b"b"}


def test_a_value_that_comes_in_many_pieces_is_copied_once() -> None:
    body = bytes(range(256)) * 4096
    said = value(b"a", body) + b"END\r\n"
    question = Get([b"a"])
    replies = Replies()
    replies.expect(question)
    pieces = [said[at : at + 4096] for at in range(0, len(said), 4096)]
    for piece in pieces[:-1]:
        assert replies.feed(piece) == 0
        # Nothing is joined before all of it is there.
        assert sum(map(len, replies._pieces)) <= len(said)
        assert question.values == {}
    assert len(replies._pieces) == len(pieces) - 1
    assert replies.feed(pieces[-1]) == 1
    assert question.values == {b"a": body}
