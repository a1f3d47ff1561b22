"""curl, as people use it from a shell."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.clients.application import LINE, LINES
from tests.clients.conftest import NewItem
from tests.clients.programs import Origin, binary
from tests.processes import PATIENCE

#: When the first version of a page was made, a second later, and long before either.
MADE: Final = "Sun, 13 Sep 2020 12:26:40 GMT"
LATER: Final = "Sun, 13 Sep 2020 12:26:41 GMT"
BEFORE: Final = "Mon, 01 Jan 2001 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Got:
    """The last answer that curl got: status, fields with names in lower case, body.

    ``heads`` are the status codes of all answers of the transfer, ``said`` is what ``-w`` printed.
    """

    status: int
    fields: dict[str, str]
    body: bytes
    heads: tuple[int, ...]
    said: str


class Curl:
    """Runs curl in a folder of its own."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self._origin, self.folder = origin, folder
        self._binary = binary("curl")

    def __call__(self, path: str, *options: str) -> Got:
        """One transfer, or as many as there are paths among the options."""
        (self.folder / "heads").unlink(missing_ok=True)
        (self.folder / "body").unlink(missing_ok=True)
        self.run("-D", "heads", "-o", "body", *options, self._origin.url + path)
        text = (self.folder / "heads").read_bytes().decode("latin-1")
        heads = [head.splitlines() for head in text.split("\r\n\r\n") if head]
        pairs = [line.split(": ", 1) for line in heads[-1][1:]]
        names = [name.lower() for name, _ in pairs]
        assert len(names) == len(set(names)), f"a field comes twice: {names}"
        body = self.folder / "body"
        return Got(
            int(heads[-1][0].split()[1]),
            {name.lower(): value for name, value in pairs},
            body.read_bytes() if body.exists() else b"",
            tuple(int(head[0].split()[1]) for head in heads),
            self.said,
        )

    def run(self, *options: str) -> None:
        """Run it with these options alone; it must succeed."""
        fixed = ("-q", "-sS", "--noproxy", "*", "--max-time", str(PATIENCE))
        done = subprocess.run(
            (self._binary, *fixed, *options), cwd=self.folder, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        self.said = done.stdout.decode()


@pytest.fixture
def curl(origin: Origin, tmp_path: Path) -> Curl:
    """curl with the files it leaves in the test's own folder."""
    return Curl(origin, tmp_path)


def test_a_namespaced_page_leaves_to_be_asked_for_each_time(curl: Curl, new_item: NewItem) -> None:
    page = new_item("items")
    for _ in range(2):
        got = curl(page)
        assert (got.status, got.fields["cache-control"]) == (200, "no-cache")
        assert re.fullmatch(r'"[^"]+"', got.fields["etag"])
        assert "expires" not in got.fields
        assert "pragma" not in got.fields


def test_a_saved_etag_saves_the_body_until_the_item_changes(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("items")
    saving = ("--etag-save", "etag", "--etag-compare", "etag")
    assert curl(page, *saving).status == 200
    for _ in range(2):
        got = curl(page, *saving)
        assert (got.status, got.body) == (304, b"")
        assert got.fields["cache-control"] == "no-cache"
        assert "content-length" not in got.fields
    assert origin.renderings(page) == 1
    origin.change(page)
    new = curl(page, *saving)
    assert (new.status, b"version 1" in new.body) == (200, True)
    assert curl(page, *saving).status == 304
    assert origin.renderings(page) == 2


def test_a_head_says_what_a_get_says(curl: Curl, origin: Origin, new_item: NewItem) -> None:
    page = new_item("timed")
    full, head = curl(page), curl(page, "-I")
    # curl writes the fields of -I where the body goes, too.
    assert head.status == 200
    for name in ("content-length", "etag", "last-modified", "cache-control", "content-type"):
        assert head.fields[name] == full.fields[name], name
    assert int(head.fields["content-length"]) == len(full.body)
    assert origin.renderings(page) == 1


def test_parts_of_a_page_are_its_bytes(curl: Curl, origin: Origin, new_item: NewItem) -> None:
    page = new_item("timed")
    whole = curl(page).body
    size = len(whole)
    assert size == LINE * LINES
    for asked, start, stop in (
        ("0-9", 0, 10), ("4990-", 4990, size), ("-10", size - 10, size), ("4995-9999", 4995, size),
    ):  # fmt: skip
        got = curl(page, "-r", asked)
        assert (got.status, got.body) == (206, whole[start:stop]), asked
        assert got.fields["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert int(got.fields["content-length"]) == stop - start
    none = curl(page, "-r", f"{size}-")
    assert (none.status, none.fields["content-range"]) == (416, f"bytes */{size}")
    assert origin.renderings(page) == 1


def test_several_parts_come_in_one_answer(curl: Curl, new_item: NewItem) -> None:
    page = new_item("timed")
    whole = curl(page).body
    got = curl(page, "-r", "0-9,100-109")
    kind, _, boundary = got.fields["content-type"].partition("; boundary=")
    assert (got.status, kind) == (206, "multipart/byteranges")
    parts = got.body.split(f"--{boundary}".encode())
    assert [part.rpartition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
        whole[:10] + b"\r\n", whole[100:110] + b"\r\n",
    ]  # fmt: skip
    assert parts[-1].strip() == b"--"


def test_a_broken_download_goes_on_where_it_stopped(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    whole = curl(page).body
    (curl.folder / "copy").write_bytes(whole[:1234])
    curl.run("-C", "-", "-o", "copy", origin.url + page)
    assert (curl.folder / "copy").read_bytes() == whole
    assert origin.answers(page) == ["GET 200", "GET 206"]


def test_those_who_can_read_it_get_the_page_compressed(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("packed")
    for _ in range(2):
        plain, packed = curl(page), curl(page, "--compressed")
        assert packed.body == plain.body
        assert packed.fields["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.fields
        assert packed.fields["etag"] != plain.fields["etag"]
        assert "accept-encoding" in packed.fields["vary"].lower()
        assert "accept-encoding" in plain.fields["vary"].lower()
        assert int(plain.fields["content-length"]) == len(plain.body)
        assert int(packed.fields["content-length"]) != len(packed.body)
    assert origin.renderings(page) == 2
    origin.change(page)
    assert b"version 1" in curl(page, "--compressed").body
    assert b"version 1" in curl(page).body


def test_a_page_is_asked_for_by_its_date(curl: Curl, origin: Origin, new_item: NewItem) -> None:
    page = new_item("dated")
    assert curl(page).fields["last-modified"] == MADE
    # curl shows no body, and that is all right with it.
    assert curl(page, "-z", MADE).status == 304
    assert curl(page, "-z", LATER).status == 304
    assert curl(page, "-z", BEFORE).status == 200
    assert curl(page, "-z", f"-{MADE}").status == 200
    assert curl(page, "-z", f"-{BEFORE}").status == 412
    assert origin.renderings(page) == 1


def test_an_old_client_of_http_1_0_gets_the_whole_page(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    modern = curl(page).body
    for _ in range(2):
        got = curl(page, "--http1.0")
        assert (got.status, got.body) == (200, modern)
        assert "transfer-encoding" not in got.fields
    assert curl(page, "--http1.0", "-r", "0-9").body == modern[:10]
    assert origin.renderings(page) == 1


def test_a_write_waits_to_be_told_to_go_on(curl: Curl, origin: Origin, new_item: NewItem) -> None:
    (curl.folder / "sent").write_bytes(b"x" * 100_000)
    body = ("-H", "Expect: 100-continue", "--data-binary", "@sent")
    got = curl("/echo/1", *body)
    assert (got.heads, got.body) == ((100, 200), b"100000")
    page = new_item("items")
    assert b"version 0" in curl(page).body
    # It follows the answer to its write, and must find what it wrote.
    new = curl(page, *body, "-L")
    assert [status for status in new.heads if status != 100] == [303, 200]
    assert b"version 1" in new.body
    assert origin.answers(page) == ["GET 200", "POST 303", "GET 200"]


def test_one_connection_carries_hits_parts_heads_and_writes(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    etag = curl(page).fields["etag"]
    url = origin.url + page
    steps = (
        ("-o", "1", url),
        ("-o", "2", "-H", f"If-None-Match: {etag}", url),
        ("-o", "3", "-r", "0-9", url),
        ("-o", "4", "-r", "9999-", url),
        ("-I", "-o", "5", url),
        ("-X", "POST", "-o", "6", url),
        ("-o", "7", url),
    )
    options: list[str] = []
    for step in steps:
        options += ("-w", "%{http_code}:%{num_connects} ", "--noproxy", "*", "-s", *step, "--next")
    curl.run(*options[:-1])
    assert curl.said.split() == ["200:1", "304:0", "206:0", "416:0", "200:0", "303:0", "200:0"]


@pytest.mark.parametrize("wish", ["Cache-Control: no-cache", "Pragma: no-cache"])
def test_who_wants_a_page_made_anew_gets_it(
    wish: str, curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    busy, calm = new_item("items"), new_item("calm")
    for page in (busy, calm):
        first = curl(page)
        again = curl(page, "-H", wish)
        assert (again.status, again.body) == (200, first.body)
        assert curl(page).body == first.body
    assert (origin.renderings(busy), origin.renderings(calm)) == (2, 1)


def test_a_page_can_be_too_old_for_somebody(curl: Curl, origin: Origin, new_item: NewItem) -> None:
    page = new_item("timed")
    curl(page)
    origin.pass_time(30)
    for wish, renderings in (("max-age=40", 1), ("min-fresh=20", 1), ("max-age=20", 2)):
        assert curl(page, "-H", f"Cache-Control: {wish}").status == 200
        assert origin.renderings(page) == renderings, wish
    origin.pass_time(30)
    assert int(curl(page).fields["age"]) >= 30
    assert curl(page, "-H", "Cache-Control: min-fresh=40").status == 200
    assert origin.renderings(page) == 3


def test_who_wants_only_what_is_stored_causes_no_rendering(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("items")
    stored = ("-H", "Cache-Control: only-if-cached")
    assert curl(page, *stored).status == 504
    assert origin.renderings(page) == 0
    whole = curl(page)
    assert curl(page, *stored).body == whole.body
    origin.change(page)
    assert curl(page, *stored).status == 504
    assert origin.renderings(page) == 1


def test_a_page_that_is_validated_each_time_is_rendered_once(
    curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("checked")
    first = curl(page)
    for _ in range(3):
        got = curl(page)
        assert (got.status, got.body) == (200, first.body)
        assert got.fields["etag"] == first.fields["etag"]
    assert origin.renderings(page) == 1
    origin.change(page)
    assert curl(page).body == b"version 1"
    assert origin.renderings(page) == 2


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_write_forgets_the_page_at_its_own_address(
    method: str, curl: Curl, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    first = curl(page)
    assert curl(page).body == first.body
    assert curl(page, "-X", method).status == 204
    second = curl(page)
    assert second.body.startswith(b"0001")
    assert curl(page).body == second.body
    assert origin.renderings(page) == 2
