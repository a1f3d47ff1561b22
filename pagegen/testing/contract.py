"""The contract of a store, in words and as a test suite."""

from __future__ import annotations

from .promises.handles import HandlePromises
from .promises.leases import LeasePromises
from .promises.loops import LoopPromises
from .promises.pages import PagePromises
from .promises.tokens import TokenPromises


class StoreContract(TokenPromises, PagePromises, LeasePromises, HandlePromises, LoopPromises):
    """What every store promises. Subclass it, and pytest holds your store to it::

        class TestMyStore(StoreContract):
            def open(self):
                return MyStore("127.0.0.1:4000", deadline=5.0)

        class TestMyStoreOnALoop(TestMyStore):
            on_loop = True

    ``open`` returns a handle on the same pages and tokens each time, a new one as another process
    would have it. A store that lives in one process returns the same one again. What is opened is
    closed after each test; slots and namespaces are new in each, so nothing needs to be emptied.
    Give the store room for 16 MB and deadlines of seconds: promises are tested here, not speed.

    With a store on a fake clock define ``advance``; otherwise the suite waits in real time, some
    seconds in all. ``short_ttl`` and ``flood`` say how long and how much. With ``on_loop`` all
    promises are tried on an event loop: on the store's own twin, or in pagegen's threads.

    **Two laws**

    - A look-up or an admission that fails is a miss. The engine catches what a verb raises, and the
      request goes to the application.
    - An invalidation that fails is an error: silence would serve what somebody takes for gone.

    **All verbs**

    - are safe in many threads at once, through many handles, and on both sides of a ``fork``;
      everybody gets the answer to his own question, whoever is cancelled beside him;
    - are coroutines that never suspend: without an event loop they end in one step. They may block
      the thread, for a bounded time; a request should not wait longer than 50 ms;
    - raise ``StoreError`` when they could not do their work.

    **read(slot, namespaces)** gives page and tokens in one trip

    - Tokens in the order of the names, as often as a name is asked for; None where there is none.
      They are those of a moment after the call began.
    - It raises where a token cannot be known, and never guesses None for it.
    - A page that is missing, expired, damaged or foreign is None. It is never a part of a page, and
      it has all its attributes as they were written.
    - Nothing is created, extended, freed or changed by it.

    **add_tokens(tokens, ttl)** gives tokens to those that have none, and returns those of all

    - Of many that add to one name at once, one wins, and all get its token.
    - What it returns is what ``read`` returns from now on, even if the store mixes in something of
      its own.
    - It raises when a token is not known to be in the store.

    **replace_tokens(tokens, ttl)** invalidates

    - When it has returned, no ``read`` through any handle in any process gives an earlier token:
      not when the new one expires or is evicted, not after a crash, not when a server returns that
      was away. An evicted or expired token is None, and the next ``add_tokens`` begins anew.
    - It raises when that cannot be said of all names. Some may be replaced all the same.
    - It sends a token once, to one place. Whoever tries again brings new tokens.
    - A reader that has seen the new token never sees the old one again, though the verb be still
      under way.

    **remove_tokens(tokens)** takes marks of writers away, never tokens of pages

    - Only where the very token is there that ``add_tokens`` or ``read`` gave; what another has put
      there stays. When it has returned, no ``read`` gives it, and ``add_tokens`` begins anew.
    - It returns the names that it removed. Of many that remove one at once, one does.

    **write_page(slot, page, ttl)** fills a slot, over what was there

    - Whole or not at all, though the writer be killed. False says that there is no room; the slot
      may then be empty or hold the page before.
    - It never touches tokens, nor does making room for it.

    **delete_page(slot)** empties a slot. Nothing depends on it; an empty slot is no error.

    **ttl** is in seconds, with fractions, up to 2**31. A page or token may vanish before it is
    over, and vanishes some seconds after it at the latest, read or not.

    **acquire(slot, owner, term)** and **release(slot, owner)** (with ``leases`` only)

    - One holder at a time. Who asks meanwhile is refused at once, in any thread or process; who is
      refused waits for that holder. A store without room gives a lease that it loses at once.
    - A lease lapses after its term, and may be lost earlier: it saves work, and nothing is wrong
      when two have it one after the other.
    - Only the present holder gives it back; anybody else's ``release`` does nothing.

    **statistics()** are whole numbers by name, at any time, also after ``close``. It asks nobody
    outside the process.

    **close()** gives back what is held open, on event loops too. Twice is no error, and other
    handles go on.

    **on_loop()** (optional) returns the twin for event loops. It sees the same pages and tokens at
    the same time, may suspend, and serves any number of loops, in turn and at once.

    **glance(slot, namespaces)** (optional) is for speed alone: what ``read`` would give now, as a
    pair, where the store knows it without suspending, blocking or asking another process; else
    None, and ``read`` is asked. A class that replaces ``read`` does not inherit it.

    **capabilities** are what the store says of itself. They are checked when the cache is built:

    ===================  ===========================================================================
    ``blocking_reads``   on an event loop ``read`` runs in a thread, unless the store has a twin
    ``blocking_writes``  the same for all other verbs
    ``shared``           other processes see what this one writes: a near store may stand in front.
                         One that is not shared has to warn of a second process itself
    ``one_trip``         ``read`` asks once for page and tokens: told to people, nothing more
    ``compare_and_set``  a lease is given back by its holder alone: ``leases`` is refused without it
    ``leases``           ``acquire`` and ``release`` are there, for processes to share a rendering
    ===================  ===========================================================================
    """
