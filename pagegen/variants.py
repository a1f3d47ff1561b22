"""Pages that vary: one resource, several stored responses (RFC 9111 §4.1).

Only rules of mode ``http`` have them. The response's ``Vary`` names the request fields that select;
their values are part of the key, so each variant has a slot of its own. The resource's first slot
then holds a *marker*: the names, and the slots of its variants. A process reads it once and
remembers the names, so that a hit costs one trip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from .fields import tokens
from .keys import SLOT_BYTES, encode, slot
from .law.vary import MAX_NORMALISED, is_unread, normalised, selecting
from .messages import Request, RequestFields, ResponseHead, StoredResponse
from .stores.base import Store
from .stores.s3fifo import S3Fifo
from .verdicts import Plan
from .views import shown
from .wrote import others

#: Variants of one resource that are kept; the one whose slot was learned first gives way. Sites
#: that vary by language or coding have a handful.
MAX_VARIANTS: Final = 64
#: Bytes of markings remembered: some 2,500 of usual length. They are kept as pages are, so that no
#: flood of resources takes away what visitors ask for; what is not known costs a second trip.
LEARNED_BYTES: Final = 2**20

#: Measured: what a marking weighs besides its names and slots, a name, and a slot.
_OVERHEAD: Final = 640
_NAME_OVERHEAD: Final = 60
_SLOT_WEIGHT: Final = 64

#: The value of a request field by its name in lower case.
Values = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Marking:
    """What a marker says: names of selecting fields, and slots of variants, the latest first.

    ``until``: when the store may let go of the marker, in seconds; 0 where this process did not
    write it.
    """

    names: tuple[str, ...]
    slots: tuple[bytes, ...] = ()
    until: float = 0.0

    def holds(self, place: bytes, names: tuple[str, ...]) -> bool:
        """Whether this slot is among the variants that these fields select."""
        return self.names == names and place in self.slots


def values_of(plan: Plan, fields: RequestFields) -> Values:
    """The request fields as the handler of this plan sees them."""
    nominated = tokens(fields.get("connection"))

    def value_of(name: str) -> str | None:
        if not shown(plan, name, nominated):
            return None
        return others(fields.get(name)) if name == "cookie" else fields.get(name)

    return value_of


def variant(plan: Plan, names: tuple[str, ...], value_of: Values) -> Plan:
    """The plan of the variant that these values select; the plan itself without names."""
    if not names:
        return plan
    said = tuple((name, normalised(name, value_of(name))) for name in names)
    key = plan.key + encode(("vary", said))
    return replace(plan, key=key, slot=slot(key))


def names_of(page: StoredResponse, plan: Plan) -> tuple[str, ...]:
    """The fields that a stored page's ``Vary`` selects by, besides those that are keyed."""
    head = ResponseHead(page.status, page.from_application())
    return selecting(head, plan.keyed) or ()


def marker(plan: Plan, marking: Marking, now: float) -> StoredResponse:
    """The stored form of a marking: no page, since its status is none."""
    return StoredResponse(
        key=plan.key,
        namespaces=(),
        generation=(),
        status=0,
        status_line="",
        body=b"".join(marking.slots),
        etag=None,
        last_modified=None,
        stored_at=now,
        initial_age=0.0,
        fresh_until=now,
        render_seconds=0.0,
        fields=(("vary", ",".join(marking.names)),),
        wire_fields=(),
        not_modified_fields=(),
        not_modified_wire_fields=(),
    )


def marking_of(page: StoredResponse | None, plan: Plan) -> Marking | None:
    """What a marker of this plan says; None for a page, or another plan's."""
    if page is None or page.status != 0 or page.key != plan.key:
        return None
    names = tuple(value for name, value in page.fields if name == "vary")
    cuts = range(0, len(page.body), SLOT_BYTES)
    slots = tuple(page.body[at : at + SLOT_BYTES] for at in cuts)
    return Marking(tuple(names[0].split(",")), slots) if names else None


class Variants:
    """Marks resources that vary, and remembers their markings. Thread-safe. ``count`` hears of
    events by name.
    """

    def __init__(self, count: Callable[[str], object] = lambda _event: None) -> None:
        self._count = count
        self._learned: S3Fifo[bytes, Marking] = S3Fifo(LEARNED_BYTES)
        self._dropped = 0

    def marking(self, plan: Plan) -> Marking | None:
        """What is known of a resource."""
        return self._learned.get(plan.slot, 0.0)

    def selected(self, plan: Plan, marking: Marking | None, request: Request) -> Plan:
        """The plan of the variant that a request selects."""
        if marking is None:
            return plan
        value_of = values_of(plan, request.fields)
        found = variant(plan, marking.names, value_of)
        # No value is longer than the key that it is part of.
        if len(found.key) - len(plan.key) > MAX_NORMALISED and any(
            is_unread(value_of(name)) for name in marking.names
        ):
            self._count("unread:vary")
        return found

    def learn(self, page: StoredResponse | None, plan: Plan) -> Marking | None:
        """What a resource's slot says of it, remembered; None where it holds no marker."""
        found = marking_of(page, plan)
        if found is not None:
            self._learn(plan.slot, found)
        return found

    async def mark(
        self,
        store: Store,
        plan: Plan,
        target: Plan,
        names: tuple[str, ...],
        now: float,
        ttl: float,
        hurry: Callable[[], None],
    ) -> None:
        """Say in the resource's slot that ``target`` is a variant of it, for at least half of
        ``ttl`` seconds. Raises what the store does, and what ``hurry`` does before each verb.

        Two processes that do this at once may lose one of two slots: its variant is found all the
        same, and only counts no more towards ``MAX_VARIANTS``.
        """
        known = self._learned.get(plan.slot, 0.0)
        if known is not None and known.holds(target.slot, names) and known.until - now > ttl / 2:
            return
        hurry()
        page, _ = await store.read(plan.slot, ())
        there = marking_of(page, plan)
        # Slots of other names too: they have to go one day.
        others = there.slots if there is not None else ()
        slots = (target.slot, *(other for other in others if other != target.slot))
        marking = Marking(names, slots[:MAX_VARIANTS], now + ttl)
        hurry()
        await store.write_page(plan.slot, marker(plan, marking, now), ttl)
        self._learn(plan.slot, marking)
        for dropped in slots[MAX_VARIANTS:]:
            self._dropped += 1
            hurry()
            await store.delete_page(dropped)

    def expect(self, plan: Plan, names: tuple[str, ...]) -> None:
        """A response of this resource varies by these, whether a marker says so or not yet."""
        known = self._learned.get(plan.slot, 0.0)
        if known is None or known.names != names:
            self._learn(plan.slot, Marking(names))

    def unlearn(self, plan: Plan) -> None:
        """The resource's latest page does not vary."""
        self._learned.discard(plan.slot)

    def _learn(self, place: bytes, marking: Marking) -> None:
        weight = _OVERHEAD + _SLOT_WEIGHT * len(marking.slots)
        weight += sum(len(name) + _NAME_OVERHEAD for name in marking.names)
        self._learned.put(place, marking, weight, inf)

    def statistics(self) -> Mapping[str, int]:
        """Of the markings remembered: count, bytes, budget, evicted; and ``dropped``, the variants
        that gave way because their resource had too many.
        """
        return {**self._learned.statistics(), "dropped": self._dropped}
