"""What a store promises of pages."""

from __future__ import annotations

from threading import Event

from ...messages import StoredResponse
from .ground import Ground, Handle, holds, same, together
from .samples import HOSTILE, LENGTHS, ODD, differences, page

#: Pages that each of two writers puts into one slot while others read it.
WRITES = 40


class PagePromises(Ground):
    """Pages come back whole, as they were, or not at all; tokens never hear of them."""

    def test_page_and_tokens_come_in_one_read(self) -> None:
        """Each of the two alone, both, and neither."""
        one, other = self.two()
        slot, name = self.slot(), self.name()
        (token,) = one.give(name)
        same(other.read(slot, name), (None, (token,)), "a slot without a page is None")
        holds(one.write(slot, page()), "there is room for a small page")
        found = other.read(slot, name)
        same(differences(found.page, page()), [], "the page is as it was")
        same(found.tokens, (token,), "and its tokens come with it")
        same(other.read(None, name), (None, (token,)), "no slot, no page")
        same(other.read(self.slot()), (None, ()), "another slot has no page")

    def test_every_page_comes_back_as_it_was(self) -> None:
        """All attributes of all odd pages, through either handle."""
        one, other = self.two()
        for what, odd in ODD.items():
            slot = self.slot()
            holds(one.write(slot, odd), f"there is room for a page {what}")
            for handle in (one, other):
                same(differences(handle.page(slot), odd), [], f"a page {what} is as it was")

    def test_a_body_of_any_length_comes_back_whole(self) -> None:
        """Up to 1 MiB, unless the store says that it has no room for it."""
        one, other = self.two()
        for length in LENGTHS:
            slot = self.slot()
            body = (HOSTILE + bytes(range(256))) * (length // 256 + 1)
            large = page(body[:length])
            kept = one.write(slot, large)
            holds(kept or length > 500_000, f"there is room for {length} bytes")
            found = other.page(slot)
            holds(found is not None or length > 500_000, f"{length} bytes are there")
            wrong = [] if found is None else differences(found, large)
            same(wrong, [], f"{length} bytes, whole or not at all")

    def test_a_page_takes_the_place_of_the_one_before(self) -> None:
        """A shorter one, a longer one, by either handle."""
        one, other = self.two()
        slot = self.slot()
        pages = [page(b"x" * length) for length in (10, 300_000, 0, 40_000, 5, 300_001, 299_999)]
        for number, next_page in enumerate(pages):
            writer, reader = (one, other) if number % 2 else (other, one)
            holds(writer.write(slot, next_page), "there is room")
            same(differences(reader.page(slot), next_page), [], "the last page is there")

    def test_slots_that_look_alike_are_apart(self) -> None:
        """Twenty bytes of any kind: all zero, line breaks, spaces, one bit of difference."""
        one, other = self.two()
        start = self.slot()[:8]
        slots = [start + tail * 12 for tail in (b"\0", b"\xff", b" ", b"\r", b"\n", b"%", b"/")]
        slots += [b"\r\nEND\r\n" + start + b"\0\r\n \0", start + b"END\r\nVALUE x", self.slot()]
        first, *middle, last = slots[-1]
        slots += [bytes((first ^ 1, *middle, last)), bytes((first, *middle, last ^ 1))]
        for number, slot in enumerate(slots):
            holds(one.write(slot, page(b"%d" % number)), "there is room")
        for number, slot in enumerate(slots):
            same(len(slot), 20, "a slot has twenty bytes")
            same(differences(other.page(slot), page(b"%d" % number)), [], f"slot {slot!r}")

    def test_a_deleted_page_is_gone_and_nothing_else(self) -> None:
        """Deleting what is not there is no error."""
        one, other = self.two()
        slot, neighbour, name = self.slot(), self.slot(), self.name()
        tokens = one.give(name)
        for each in (slot, neighbour):
            one.write(each, page())
        other.delete(slot)
        other.delete(slot)
        other.delete(self.slot())
        for handle in (one, other):
            same(handle.read(slot, name), (None, tokens), "the page is gone, the token is not")
            holds(handle.page(neighbour) is not None, "its neighbour is there")
        holds(one.write(slot, page(b"new")), "the slot can be filled again")
        same(differences(other.page(slot), page(b"new")), [], "and read")

    def test_an_expired_page_is_gone(self) -> None:
        """Of a whole ttl and of a fraction of a second; pages that have time left stay."""
        one, other = self.two()
        short, fraction, long = self.slot(), self.slot(), self.slot()
        one.write(long, page())
        one.write(short, page(), self.short_ttl)
        one.write(fraction, page(), 0.4)
        self.eventually(
            lambda: other.page(short) is other.page(fraction) is None, "a page expires, read or not"
        )
        holds(other.page(long) is not None, "a page that has time left is there")

    def test_a_page_lives_through_any_long_ttl(self) -> None:
        """Thirty days are where memcached begins to read a date; 68 years are the longest."""
        one, other = self.two()
        for ttl in (30 * 86_400.0, 30 * 86_400.0 + 1, 400 * 86_400.0, 2.0**31):
            slot = self.slot()
            one.write(slot, page(), ttl)
            holds(other.page(slot) is not None, f"a page with a ttl of {ttl:.0f} s is there")

    def test_pages_never_touch_tokens(self) -> None:
        """Neither written, nor overwritten, nor deleted, nor pushed out by a flood."""
        one, other = self.two()
        names, slot = self.names(16), self.slot()
        tokens = one.give(*names)
        named = page(namespaces=tuple(names), generation=tokens)
        for _ in range(3):
            one.write(slot, named)
            same(other.read(slot, *names).tokens, tokens, "a page that is written")
        one.delete(slot)
        same(other.tokens(*names), tokens, "a page that is deleted leaves the tokens alone")
        for number in range(self.flood):
            one.write(self.slot(), page(b"%4d" % number * 4_096))
        same(other.tokens(*names), tokens, "a flood of pages leaves the tokens alone")

    def test_reading_changes_nothing(self) -> None:
        """The same page and tokens, as often as they are read by whomever."""
        one, other = self.two()
        slot, name, missing = self.slot(), self.name(), self.name()
        (token,) = one.give(name)
        one.write(slot, page())
        for handle in (one, other) * 5:
            found = handle.read(slot, missing, name)
            same(differences(found.page, page()), [], "a page stays as it was")
            same(found.tokens, (None, token), "tokens stay as they were")

    def test_a_page_is_seen_whole_or_not_at_all(self) -> None:
        """Two writers fill one slot with pages of many lengths while two readers look."""
        one, other = self.two()
        slot, done = self.slot(), Event()
        writing = [0, 0]
        torn: list[str] = []

        def write(handle: Handle, writer: int) -> None:
            try:
                for number in range(WRITES):
                    handle.write(slot, _uniform(writer * WRITES + number))
            finally:
                writing[writer] = 1
                if all(writing):
                    done.set()

        def read(handle: Handle) -> None:
            while not done.is_set():
                torn.extend(_torn(handle.page(slot)))

        together(
            lambda: write(one, 0), lambda: write(other, 1), lambda: read(one), lambda: read(other)
        )
        same(torn[:5], [], "no read sees a part of a page")
        last = one.page(slot)
        same(_torn(last), [], "nor afterwards")
        same(_torn(other.page(slot)), [], "nor by the other handle")


def _uniform(number: int) -> StoredResponse:
    """A page each part of which tells its number."""
    body = bytes((number,)) * (1 + number * 977 % 40_000)
    return page(
        body,
        (("X-Number", str(number)), ("Content-Length", str(len(body)))),
        key=b"%d" % number,
        status=200 + number,
        generation=(bytes((number,)) * 16,),
    )


def _torn(found: StoredResponse | None) -> list[str]:
    if found is None:
        return []
    return differences(found, _uniform(found.status - 200))
