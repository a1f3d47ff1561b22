"""What a store promises of leases, when it has them."""

from __future__ import annotations

from functools import partial
from unittest import SkipTest

from .ground import Ground, Handle, holds, mint, same, together
from .samples import differences, page


class LeasePromises(Ground):
    """One holder at a time, for no longer than the term, and only the holder gives it back.

    Skipped for stores that declare no leases.
    """

    def test_a_lease_has_one_holder(self) -> None:
        """Others are refused through either handle; other slots are free."""
        one, other = self._lessors()
        slot = self.slot()
        holds(one.acquire(slot, mint()), "a free lease is given")
        for handle in (one, other, one):
            holds(not handle.acquire(slot, mint()), "a lease that somebody holds is refused")
        holds(other.acquire(self.slot(), mint()), "each slot has a lease of its own")

    def test_of_many_that_ask_at_once_one_gets_it(self) -> None:
        """Sixteen threads, two handles, ten slots."""
        handles = self._lessors()
        for _ in range(10):
            slot = self.slot()
            got = together(*[partial(handles[n % 2].acquire, slot, mint()) for n in range(16)])
            same(got.count(True), 1, "one of those that ask at once gets the lease")

    def test_a_lease_given_back_can_be_taken_at_once(self) -> None:
        """By either handle, again and again."""
        one, other = self._lessors()
        slot = self.slot()
        for number in range(10):
            handle, next_one = (one, other) if number % 2 else (other, one)
            owner, refused = mint(), mint()
            holds(handle.acquire(slot, owner), "a lease that was given back is free")
            holds(not next_one.acquire(slot, refused), "and then it is held")
            handle.release(slot, owner)

    def test_only_its_holder_gives_a_lease_back(self) -> None:
        """A stranger's release does nothing, nor does one of a lease that nobody has."""
        one, other = self._lessors()
        slot, owner = self.slot(), mint()
        one.release(slot, owner)
        holds(one.acquire(slot, owner), "a free lease is given")
        for handle in (one, other):
            handle.release(slot, mint())
            holds(not handle.acquire(slot, mint()), "a stranger's release does nothing")
        one.release(slot, owner)
        holds(other.acquire(slot, mint()), "its holder's release does")

    def test_a_lease_lapses_after_its_term(self) -> None:
        """Then the next one has it, and the last holder's release does nothing any more."""
        one, other = self._lessors()
        slot, fraction, late = self.slot(), self.slot(), mint()
        holds(one.acquire(slot, late, self.short_ttl), "a free lease is given")
        holds(one.acquire(fraction, mint(), 0.4), "for a fraction of a second, too")
        for each in (slot, fraction):
            self.eventually(partial(other.acquire, each, mint()), "a lease lapses after its term")
        one.release(slot, late)
        holds(not one.acquire(slot, mint()), "who lost a lease cannot give it back for another")

    def test_a_lease_is_neither_page_nor_token(self) -> None:
        """A slot's page and its lease do not know of each other."""
        one, other = self._lessors()
        slot, name, owner = self.slot(), self.name(), mint()
        tokens = one.give(name)
        holds(one.acquire(slot, owner), "a free lease is given")
        same(other.read(slot, name), (None, tokens), "a lease is no page")
        other.write(slot, page())
        holds(not other.acquire(slot, mint()), "writing the page gives no lease back")
        one.release(slot, owner)
        same(differences(other.page(slot), page()), [], "giving it back does nothing to the page")
        holds(one.acquire(slot, mint()), "a lease is given where a page is, too")
        other.delete(slot)
        holds(not other.acquire(slot, mint()), "deleting the page gives no lease back")

    def _lessors(self) -> tuple[Handle, Handle]:
        one, other = self.two()
        if not one.store.capabilities.leases:
            raise SkipTest("this store says that it lends no leases")
        return one, other
