"""Every schedule, depth first, by running the world again for each.

With a bound on *preemptions* (M. Musuvathi, S. Qadeer, "Iterative context bounding for systematic
testing of multithreaded programs", PLDI 2007): every schedule with at most so many switches away
from an actor that could have gone on. Switches where one ends or has to wait are free.

Without a bound, *sleep sets* leave out schedules that differ only in the order of neighbouring
steps that touch nothing in common (P. Godefroid, "Partial-Order Methods for the Verification of
Concurrent Systems", LNCS 1032, 1996, chapter 5). They leave at least one schedule of each class of
equal ones, so nothing is missed that a promise can see, as long as footprints tell the truth:

1. A step's footprint names everything shared that it reads or writes: registers and pages of the
   store, rows, the moments that promises compare, and the whole of its process, always as written.
2. A condition that an actor waits for stays true once it is.
3. Time passes only when nobody can step, and then it is no choice.

A bound and sleep sets together are not sound (of two equal schedules one may need more preemptions
than the other, and it may be the one that is left), so they exclude each other here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .run import Actor, Footprint, RedundantError


@dataclass(slots=True, eq=False)
class _Fork:
    """A choice on the present path. ``options``: numbers of actors, or of values.

    ``spent``: preemptions before it.  ``costs``: what each option adds.  ``asleep``: actors whose
    step was explored already from here, each with what it touched.  ``touched``: by the present
    option.
    """

    options: list[int]
    costs: list[int]
    spent: int
    asleep: dict[int, Footprint] = field(default_factory=dict)
    touched: Footprint = field(default_factory=lambda: (set(), set()))
    at: int = 0


class Exhaustive:
    """``preemptions``: the bound; None for all schedules, with sleep sets.

    One object serves a whole search: :meth:`advance` before each run says whether there is one.
    """

    def __init__(self, preemptions: int | None) -> None:
        self._bound = preemptions
        self._path: list[_Fork] = []
        self._depth = 0
        self._spent = 0
        self._asleep: dict[int, Footprint] = {}
        self._fork: _Fork | None = None
        self._begun = False

    def advance(self) -> bool:
        """Go to the next schedule; False when all were explored."""
        self._depth, self._spent, self._asleep = 0, 0, {}
        if not self._begun:
            self._begun = True
            return True
        path = self._path
        while path:
            fork = path[-1]
            if self._bound is None:
                fork.asleep[fork.options[fork.at]] = fork.touched
                fork.touched = (set(), set())
            fork.at += 1
            if fork.at < len(fork.options):
                return True
            path.pop()
        return False

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """See :class:`Chooser`. Raises ``RedundantError`` where everybody is asleep."""
        if self._bound is None:
            return self._pick_awake(enabled)
        if len(enabled) == 1 or (last is not None and self._spent >= self._bound):
            return enabled[0]
        number = self._next([a.number for a in enabled], int(last is not None))
        return next(actor for actor in enabled if actor.number == number)

    def value(self, count: int, cost: int) -> int:
        """See :class:`Chooser`."""
        if self._bound is None:
            cost = 0
        elif self._spent + cost > self._bound:
            return 0
        # The step that is under way may turn out otherwise the next time: it stays awake until all
        # its ways were seen, because this fork lies below its own.
        return self._next(list(range(count)), cost)

    def stepped(self, footprint: Footprint) -> None:
        """See :class:`Chooser`."""
        if self._bound is not None:
            return
        if self._fork is not None:
            self._fork.touched[0].update(footprint[0])
            self._fork.touched[1].update(footprint[1])
        if self._asleep:
            self._asleep = {
                number: other
                for number, other in self._asleep.items()
                if _independent(other, footprint)
            }

    def _pick_awake(self, enabled: list[Actor]) -> Actor:
        if self._depth < len(self._path):
            fork = self._path[self._depth]
        else:
            awake = [a.number for a in enabled if a.number not in self._asleep]
            if not awake:
                raise RedundantError
            fork = _Fork(awake, [0] * len(awake), 0, dict(self._asleep))
            self._path.append(fork)
        self._depth += 1
        self._fork = fork
        self._asleep = dict(fork.asleep)
        number = fork.options[fork.at]
        return next(actor for actor in enabled if actor.number == number)

    def _next(self, options: list[int], cost: int) -> int:
        """The option of the next fork on the path, which is made where there is none yet."""
        if self._depth < len(self._path):
            fork = self._path[self._depth]
        else:
            costs = [0] + [cost] * (len(options) - 1)
            fork = _Fork(options, costs, self._spent)
            self._path.append(fork)
        self._depth += 1
        self._spent = fork.spent + fork.costs[fork.at]
        return fork.options[fork.at]


def _independent(one: Footprint, other: Footprint) -> bool:
    """Whether two steps may change places: neither writes what the other touches."""
    return (
        one[1].isdisjoint(other[1]) and one[1].isdisjoint(other[0]) and other[1].isdisjoint(one[0])
    )
