"""What a store promises of tokens."""

from __future__ import annotations

from functools import partial
from string import printable

from .ground import Ground, holds, same, together
from .history import History, Site

#: Seconds around which memcached takes a time to live for a date, and the longest of all.
LONG_TTLS = (30 * 86_400.0, 30 * 86_400.0 + 1, 400 * 86_400.0, 2.0**31)


class TokenPromises(Ground):
    """Order, atomic adding, replacing at once everywhere, and that nothing old comes back."""

    def test_a_token_is_read_as_it_was_added(self) -> None:
        """Through either handle, and None where there is none."""
        one, other = self.two()
        a, b, nobody = self.name("a"), self.name("b"), self.name("nobody")
        first, second = one.give(a, b)
        holds(first != second, "each namespace has a token of its own")
        for handle in (one, other):
            same(handle.tokens(b, nobody, a), (second, None, first), "tokens come as asked for")

    def test_a_name_asked_for_twice_is_answered_twice(self) -> None:
        """Tokens come in the order of the names, as many as there are names."""
        one = self.handle()
        a, b = self.names(2)
        first, second = one.give(a, b)
        same(one.tokens(a, b, a, a), (first, second, first, first), "order and number as asked")
        same(one.read(self.slot()).tokens, (), "no names, no tokens")

    def test_many_names_are_read_at_once(self) -> None:
        """Sixty-four of them, every third missing."""
        one, other = self.two()
        names = self.names(64)
        given = [name for number, name in enumerate(names) if number % 3]
        present = dict(zip(given, one.give(*given), strict=True))
        same(other.tokens(*names), tuple(map(present.get, names)), "each its own, in order")

    def test_add_keeps_what_is_there(self) -> None:
        """And returns the tokens that all have now, old ones and new ones."""
        one, other = self.two()
        a, b = self.names(2)
        (kept,) = one.give(a)
        first, second = other.give(a, b)
        same(first, kept, "add does not touch a token that is there, and returns it")
        same(one.tokens(a, b), (kept, second), "what add returned is what everybody reads")

    def test_nothing_to_add_or_to_replace_is_no_error(self) -> None:
        """Both verbs take an empty mapping."""
        one = self.handle()
        same(dict(one.add({})), {}, "nothing was added")
        one.replace()

    def test_of_many_that_add_at_once_one_wins_and_all_get_its_token(self) -> None:
        """Sixteen threads, two handles, ten times."""
        handles = self.two()
        for _ in range(10):
            names = self.names(3)
            got = together(*[partial(handles[n % 2].give, *names) for n in range(16)])
            same(len(set(got)), 1, "all who add at once get the same token")
            for handle in handles:
                same(handle.tokens(*names), got[0], "and it is the one that is read")

    def test_a_replaced_token_is_gone_for_everybody_at_once(self) -> None:
        """From the moment at which ``replace_tokens`` returns."""
        one, other = self.two()
        name = self.name()
        seen = {one.give(name)[0]}
        for number in range(20):
            writer, reader = (one, other) if number % 2 else (other, one)
            writer.replace(name)
            now = [handle.tokens(name)[0] for handle in (reader, writer)]
            holds(not seen & set(now), "no read after replace returns an earlier token")
            holds(None not in now, "replace gives a token")
            same(now[0], now[1], "everybody reads the same token")
            seen |= {token for token in now if token is not None}

    def test_many_names_are_replaced_at_once_and_no_others(self) -> None:
        """Those that had a token, those that had none, and a neighbour that keeps its own."""
        one, other = self.two()
        names, neighbour = self.names(64), self.name()
        before = dict(zip(names[:32], one.give(*names[:32]), strict=True))
        kept = one.give(neighbour)
        one.replace(*names)
        after = other.tokens(*names)
        holds(None not in after, "replace gives every name a token")
        same(len(set(after)), 64, "each its own")
        holds(not set(before.values()) & set(after), "none of the earlier ones is left")
        same(other.tokens(neighbour), kept, "replace touches only the names it was given")

    def test_of_two_that_replace_at_once_one_wins_for_everybody(self) -> None:
        """Both handles agree afterwards, and add agrees with them."""
        one, other = self.two()
        for _ in range(20):
            name = self.name()
            before = one.give(name)
            together(partial(one.replace, name), partial(other.replace, name))
            now = one.tokens(name)
            same(other.tokens(name), now, "everybody reads the same token")
            holds(now != before, "and not an earlier one")
            same(other.give(name), now, "and add keeps it")

    def test_no_reader_sees_an_earlier_token_while_others_are_written(self) -> None:
        """Readers on both handles spin through sixty replacements of eight names."""
        one, other = self.two()
        history = History(one, (one, other), self.names(8))
        together(history.write, lambda: history.read(0), lambda: history.read(1))
        same(history.problems()[:5], [], "an earlier token never follows a later one")

    def test_no_page_is_served_after_its_invalidation_has_returned(self) -> None:
        """The whole protocol: one writes rows and invalidates, two render pages and look them up.

        A page may be served when its tokens are those that came with it in one read.
        """
        one, other = self.two()
        site = Site(one, (one, other), self.names(2), self.slot())
        together(site.write, lambda: site.read(0), lambda: site.read(1))
        same(site.old[:5], [], "no page is older than an invalidation that had returned")
        holds(site.served, "pages are served at all")

    def test_what_is_removed_is_gone_for_everybody_and_can_be_added_anew(self) -> None:
        """From the moment at which ``remove_tokens`` returns; its neighbour stays."""
        one, other = self.two()
        a, b, kept = self.names(3)
        first, second, third = one.give(a, b, kept)
        same(other.remove({a: first, b: second}), {a, b}, "it returns what it removed")
        for handle in (one, other):
            same(handle.tokens(a, b, kept), (None, None, third), "removed is gone, and no other")
        fresh = one.give(a, b)
        holds(not {first, second} & set(fresh), "and a new one can be added")
        same(other.tokens(a, b), fresh, "which everybody reads")

    def test_only_what_is_there_is_removed(self) -> None:
        """What another has put there stays, and what is not there is no error."""
        one, other = self.two()
        name, nobody = self.names(2)
        (before,) = one.give(name)
        one.replace(name)
        now = other.tokens(name)
        same(one.remove({name: before, nobody: before}), set(), "another's token is not removed")
        same(other.tokens(name, nobody), (*now, None), "it stays as it was")
        same(one.remove({}), set(), "nothing to remove is no error")

    def test_of_many_that_remove_at_once_one_does(self) -> None:
        """Eight threads, two handles; the next holder's token is not touched by the late ones."""
        handles = self.two()
        for _ in range(10):
            name = self.name()
            (token,) = handles[0].give(name)
            removed = together(*[partial(handles[n % 2].remove, {name: token}) for n in range(8)])
            holds(sum(map(len, removed)) <= 1, "what is removed is removed once")
            same(handles[1].tokens(name), (None,), "and gone")

    def test_reading_creates_no_token(self) -> None:
        """What was read while it was missing is missing still, and can be added."""
        one, other = self.two()
        name = self.name()
        for handle in (one, other, one):
            same(handle.read(self.slot(), name).tokens, (None,), "a read creates nothing")
        (token,) = one.give(name)
        same(other.tokens(name), (token,), "add gives the token that read did not")

    def test_an_expired_token_does_not_come_back(self) -> None:
        """Nor the one it had replaced, however many read while it expires."""
        one, other = self.two()
        added, fraction, replaced = self.name("added"), self.name("fraction"), self.name("new")
        earlier = {*one.give(replaced)}
        earlier.update(one.give(added, ttl=self.short_ttl))
        earlier.update(one.give(fraction, ttl=0.4))
        one.replace(replaced, ttl=self.short_ttl)
        names = (added, fraction, replaced)
        earlier.update(token for token in one.tokens(*names) if token is not None)
        before = one.tokens(replaced)[0]

        def gone() -> bool:
            now = other.tokens(*names)
            holds(now[2] in (before, None), "when a token expires no earlier one appears")
            return now == (None, None, None)

        self.eventually(gone, "a token expires, read or not")
        fresh = other.give(*names)
        holds(not earlier & set(fresh), "an expired token never comes back")
        same(one.tokens(*names), fresh, "and a new one can be added")

    def test_a_token_lives_through_any_long_ttl(self) -> None:
        """Thirty days are where memcached begins to read a date; 68 years are the longest."""
        one, other = self.two()
        for ttl in LONG_TTLS:
            a, b = self.names(2)
            given = one.give(a, ttl=ttl)
            one.replace(b, ttl=ttl)
            same(other.tokens(a), given, f"a token with a ttl of {ttl:.0f} s is there")
            holds(other.tokens(b) != (None,), f"a token with a ttl of {ttl:.0f} s is there")

    def test_names_that_look_alike_are_apart(self) -> None:
        """Printable ASCII up to 512 characters, whatever it looks like."""
        one, other = self.two()
        stem = self.name("x")
        signs = [f"{stem}{sign}{stem}" for sign in printable if " " <= sign <= "~"]
        names = [
            stem,
            stem.upper(),
            stem[:-1],
            f"{stem}/",
            *signs,
            stem.ljust(511, "n"),
            stem.ljust(512, "n"),
        ]
        given = one.give(*names)
        same(len(set(given)), len(names), "different names have different tokens")
        same(other.tokens(*names), given, "and each is found by its own name")
