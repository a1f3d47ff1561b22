"""Which request fields selected a response, and when two requests agree in them (RFC 9111 §4.1).

1. ``*`` never matches; neither does a ``Vary`` that cannot be read.
2. A field that no handler sees (:func:`visible`) is absent from every request.
3. Absent matches absent only, and never empty.
4. Two values match when their normal forms are equal (:func:`normalised`). What a normal form
   drops is what the field's specification calls meaningless; in doubt it drops nothing, which
   costs a miss.
5. A response that hands back a field, where that does most harm, varies by it (:func:`reflects`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from ..fields import MAX_VALUE, TOKEN, tokens
from ..messages import ResponseHead
from ..steering import answered, end_to_end, steers

#: Selecting fields of a response; one with more is not stored. (nginx stores none whose ``Vary``
#: has over 128 characters, HAProxy none but for three known fields.)
MAX_SELECTING: Final = 16
#: Characters of a value that is normalised; a longer one matches itself only. Browsers send under
#: 200. Together with the number of values remembered this bounds the memory to some 4 MB.
MAX_NORMALISED: Final = 1024
#: Normal forms remembered. Browsers of one language and version all send the same values.
REMEMBERED: Final = 1024

#: Fields by which a response sends browsers elsewhere, or opens itself to another site's scripts.
_LEADING: Final = (
    "location", "content-location", "refresh", "link", "access-control-allow-origin",
)  # fmt: skip
#: Part of every value that names a place; so "document" or "en" in a path is none that was handed
#: back.
_PLACE: Final = re.compile(r"[/.:]")
_AUTHORITY: Final = re.compile(r"//([^/?#\s]+)")
#: Characters of the shortest value that is looked for: "a.bc".
_SHORTEST: Final = 4

_TOKEN: Final = TOKEN.pattern
_LIST: Final = re.compile(rf"[ \t]*({_TOKEN})")
_MEDIA: Final = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})")
# Members of these lists (RFC 9110 §12.5); the names in them have no case (§8.3.1, §8.3.2, §8.4.1,
# §8.5.1).
_MEMBERS: Final = {
    "accept": _MEDIA,
    "accept-charset": _LIST,
    "accept-encoding": _LIST,
    "accept-language": _LIST,
}
# §12.5.4 knows recipients who read the order of languages as a preference: that order stays.
_UNORDERED: Final = frozenset(("accept", "accept-charset", "accept-encoding"))
_PARAMETER: Final = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})=("(?:[^"\\]|\\.)*"|{_TOKEN})')
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_END: Final = re.compile(r"[ \t]*(?:,|\Z)")


def uncovered(head: ResponseHead, keyed: Collection[str]) -> str | None:
    """The first member of ``Vary`` that the key does not hold, None when it holds them all.

    For rules whose handler saw keyed inputs only: another member tells that it *would* have
    answered differently, a sign that the rule forgot something. ``Accept-Encoding`` alone is let
    pass when the response came without a coding: every client can read that one (RFC 9110 §12.5.3).
    """
    for name in tokens(head.get("vary")):
        if name == "accept-encoding" and not head.has("content-encoding"):
            continue
        if name not in keyed or name == "*":
            return name
    return None


def selecting(head: ResponseHead, keyed: Collection[str] = ()) -> tuple[str, ...] | None:
    """Names of the request fields that selected this response: in lower case, sorted, each once.

    Those that are ``keyed`` are left out, since the slot tells them apart already, and a page's
    own ``Vary`` has all of them (see ``law/downstream``). None when no later request can be known
    to match: ``*`` among the members, a member that is no field name,
    one with an underscore (a WSGI environ shows its value under another name too), and more than
    ``MAX_SELECTING`` names.
    """
    value = head.get("vary")
    if value is not None and len(value) > MAX_VALUE:
        return None
    named = frozenset(tokens(value))
    names = named.difference(keyed)
    if "*" in named or "_" in "".join(names) or not all(map(TOKEN.fullmatch, names)):
        return None
    return tuple(sorted(names)) if len(names) <= MAX_SELECTING else None


def reflects(head: ResponseHead, keyed: Collection[str], seen: Mapping[str, str]) -> bool:
    """Whether a response depends on a field that the handler saw, and neither key nor ``Vary`` has.

    It does where a place that such a field names stands in one of the ``_LEADING`` fields: a
    ``Referer`` in ``Location``, an ``Origin`` in ``Access-Control-Allow-Origin``. Stored, it would
    lead everybody where one visitor said. So it does where it is coded and says not for whom. What
    else a handler makes of what it sees shows nowhere.
    """
    named = frozenset((*tokens(head.get("vary")), *keyed))
    if head.has("content-encoding") and "accept-encoding" in seen.keys() - named:
        return True
    lines = [line.casefold() for name in _LEADING for line in head.lines(name)]
    lines += [unquote(line) for line in lines if "%" in line]
    host = seen.get("host", "").casefold()
    return bool(lines) and any(
        place in line
        for name, value in seen.items()
        if name not in named
        for place in _places(value.casefold()) - {host}
        for line in lines
    )


def _places(value: str) -> set[str]:
    """What would lead somewhere where it is handed back: a value that names a place, as a whole and
    by its authorities.
    """
    if value == "null":
        return {value}
    parts = (value.rstrip("/"), *_AUTHORITY.findall(value[:MAX_VALUE]))
    return {part for part in parts if len(part) >= _SHORTEST and _PLACE.search(part)}


def selectable(head: ResponseHead, keyed: Collection[str] = ()) -> bool:
    """Whether a later request can be known to match this response's ``Vary``."""
    return selecting(head, keyed) is not None


def visible(name: str, nominated: Collection[str] = ()) -> bool:
    """Whether a handler can see a request field, so that it may have selected the response.

    What the cache answers itself, what is about one connection (``nominated``: what the request's
    ``Connection`` names, in lower case) and what steers is taken out of the request; a response
    cannot have depended on it.
    """
    return end_to_end(name, nominated) and not answered(name) and not steers(name)


def normalised(name: str, value: str | None) -> str | None:
    """The normal form of a request field's combined value, None for a field that is absent.

    ``name`` is in lower case. Values with one form match by §4.1. For the negotiating fields of
    RFC 9110 §12.5 case, whitespace, empty members, the spelling of weights and, but for languages,
    the order of members make no difference. Of other fields, whose syntax is not known here, only
    the whitespace around the value is dropped; so it is for a value outside its field's grammar
    and for one over ``MAX_NORMALISED`` characters.
    """
    if value is None:
        return None
    value = value.strip(" \t")
    if name not in _MEMBERS or len(value) > MAX_NORMALISED:
        return value
    return _negotiating(name, value)


@lru_cache(maxsize=REMEMBERED)
def _negotiating(name: str, value: str) -> str:
    members = _members(value, _MEMBERS[name])
    if members is None:
        return value
    kinds = {text.partition(";")[0] for _, text in members}
    # Of two members of one kind a recipient may take the first or the last: their order stays.
    if name in _UNORDERED and len(kinds) == len(members):
        members.sort(key=lambda member: (-member[0], member[1]))
    return ",".join(text if weight == 1 else f"{text};q={weight:g}" for weight, text in members)


def is_unread(value: str | None) -> bool:
    """Whether :func:`normalised` takes this value letter by letter, since it is so long."""
    return value is not None and len(value) > MAX_NORMALISED


def remembered() -> tuple[int, int]:
    """Normal forms remembered now, in the whole process, and those forgotten for others."""
    memo = _negotiating.cache_info()
    return memo.currsize, memo.misses - memo.currsize


def _members(value: str, head: re.Pattern[str]) -> list[tuple[float, str]] | None:
    """Weight and text of each member; None when the value is outside the grammar."""
    found: list[tuple[float, str]] = []
    position = 0
    while position < len(value):
        if (end := _END.match(value, position)) is not None:
            position = end.end()
            continue
        if (start := head.match(value, position)) is None:
            return None
        text, weight, position = _parameters(value, start.end(), head is _MEDIA)
        if weight is None or (end := _END.match(value, position)) is None:
            return None
        found.append((weight, start[1].lower() + text))
        position = end.end()
    return found


def _parameters(value: str, position: int, media: bool) -> tuple[str, float | None, int]:
    """Parameters of a member, its weight (None: no weight can be so) and where they end.

    The weight comes last (§12.4.2); only media ranges have other parameters (§12.5.1).
    """
    text = ""
    while (match := _PARAMETER.match(value, position)) is not None:
        position, name = match.end(), match[1].lower()
        if name == "q":
            return text, float(match[2]) if _WEIGHT.fullmatch(match[2]) else None, position
        if not media:
            return text, None, position
        text += f";{name}={match[2]}"
    return text, 1.0, position
