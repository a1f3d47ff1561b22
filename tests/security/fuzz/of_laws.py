"""The law: what is read of requests and responses, and what follows from it."""

from __future__ import annotations

import re
from typing import Final

import http_sf

from pagegen import fields, negotiation, status
from pagegen.debugging import Debugger
from pagegen.keys import slot
from pagegen.law import codings, softness, tokens, validation, vary, wishes
from pagegen.law.said import said
from pagegen.law.storing import refusal, stored_fields
from pagegen.law.validation import Validators
from pagegen.messages import GivenFields, ResponseHead
from pagegen.rules import Rule
from pagegen.status import appended

from .of_fields import CONTROL
from .targets import Reader, holds, lines, target, text

_NOW: Final = 1_000_000.0
_RULES: Final = (
    Rule(path="/a", share="public", ttl="1h"),
    Rule(path="/b", share="public", mode="http"),
    Rule(path="/c", share="public", ttl={200: "1h", 404: "1m"}, set_cookie="drop", sie="1h"),
)
#: What no response may say that everybody gets, whatever stands beside it.
_CLOSING: Final = (
    ("Cache-Control", "no-store"),
    ("Cache-Control", "private"),
    ("Vary", "*"),
    ("Content-Range", "bytes 0-1/2"),
    ("Content-Length", "x"),
)


@target(
    *CONTROL,
)  # fmt: skip
def request_wishes(data: bytes) -> None:
    """Cache-Control of requests: numbers that are none are the strictest there can be."""
    control, pragma = lines(data, 2)
    given = GivenFields({"cache-control": control, "pragma": pragma})
    asked, lenient = wishes.wishes(given), wishes.wishes(given, reloads=False)
    for found in filter(None, (asked, lenient)):
        numbers = (found.max_age, found.min_fresh, found.max_stale, found.stale_if_error)
        holds(all(n is None or n >= 0 for n in numbers), "below nothing", control)
    if lenient is not None:
        holds(not lenient.demands, "demands that are passed over", control)
        holds(asked is not None and asked.no_store == lenient.no_store, "no-store", control)
    read = fields.directives(control)
    holds(bool(asked and asked.max_age is not None) == ("max-age" in read), "max-age", control)
    if not control:
        wants = "no-cache" in fields.directives(pragma)
        holds(bool(asked and asked.no_cache) == wants, "pragma", pragma)


def head_of(told: str) -> ResponseHead:
    """A response of lines: its status, then fields."""
    first, *rest = told.split("\n")
    number = int(first) if re.fullmatch("[1-9][0-9]{2}", first) else 200
    pairs = (line.partition(":") for line in rest if ":" in line)
    return ResponseHead(number, tuple((name, value.strip(" \t")) for name, _, value in pairs))


@target(
    "200\n", "404\n", "Cache-Control: ", "Pagegen-Cache-Control: ", "CDN-Cache-Control: ", "Vary: ",
    "Set-Cookie: a=b", "Expires: ", "Date: ", "Age: 5", "ETag: ", "Connection: ",
    "Content-Length: ", "Sun, 06 Nov 1994 08:49:37 GMT", "Cache-Groups: ", '"a"', "\n", *CONTROL,
)  # fmt: skip
def storing(data: bytes) -> None:
    """Whether a response is stored: nothing beside it opens what one line has closed."""
    head = head_of(text(data))
    words = said(head)
    for number, rule in enumerate(_RULES):
        judged = refusal(head, rule, {"host"}, ("x",), _NOW)
        cookie = (("Set-Cookie", "a=b"),)
        for line in (*_CLOSING, *(cookie if rule.set_cookie == "refuse" else ())):
            if line[0] == "Cache-Control" and (
                words.targeted or '"' in (head.get("cache-control") or "")
            ):
                continue  # it is for other caches, or inside of a quote that nobody closes
            if line[1] == "no-store" and words.bare("must-understand"):
                continue
            closed = ResponseHead(head.status, (*head.fields, line))
            found = refusal(closed, rule, {"host"}, ("x",), _NOW)
            holds(found is not None, "stored", number, line, head.fields)
        if judged is None:
            kept = {name.lower() for name, _ in stored_fields(head)}
            out = {"set-cookie", "connection", "transfer-encoding", "upgrade", "keep-alive"}
            named = {n for value in head.lines("connection") for n in fields.tokens(value)}
            holds(kept.isdisjoint(out | named), "kept of a connection", head.fields)
            holds(kept.isdisjoint(words.withheld), "kept of what is withheld", head.fields)


@target(
    "gzip", "br", "identity", "*", ";q=0", ";q=0.5", ",", "text/html", "text/*", "de-AT", "en",
    "\\", ';a="b"', " ",
)  # fmt: skip
def variants(data: bytes) -> None:
    """Values that select a page: one normal form, which says the same."""
    vary_value, value = lines(data, 2)
    for name in ("accept", "accept-encoding", "accept-language", "accept-charset", "x-other"):
        form = vary.normalised(name, value)
        holds(form is not None and vary.normalised(name, form) == form, "twice", name, value, form)
        holds(vary.normalised(name, f" {value}\t") == form, "whitespace", name, value)
        if (
            name in negotiation.NEGOTIATED
            and form is not None
            and "\\" not in value
            and '"' not in value
        ):
            offers = ("gzip", "br", "text/html", "de", "en")
            best = [negotiation.preferred(name, v, offers) for v in (value, form)]
            holds(best[0] == best[1], "another page by its normal form", name, value, form)
    head = ResponseHead(200, (("Vary", vary_value),))
    chosen = vary.selecting(head)
    named = {part.strip(" \t").lower() for part in vary_value.split(",")} - {""}
    holds(chosen is None or set(chosen) == named, "selecting", vary_value, chosen)
    holds(chosen is None or "*" not in named, "a star selects", vary_value)


@target('"a"', 'W/"a"', "*", ",", "Sun, 06 Nov 1994 08:49:37 GMT", "\n", '"b"')
def conditions(data: bytes) -> None:
    """Preconditions: 304 and 412 where a validator says so, and else the page."""
    etag, match, none, since, until = lines(data, 5)
    page = Validators(200, etag or None, 784_111_777.0)
    names = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    given = GivenFields(
        {n: v for n, v in zip(names, (match, none, since, until), strict=True) if v}
    )
    answer = validation.precondition(given, page)
    holds(answer in (None, 304, 412), "another answer", answer)
    holds(answer != 412 or bool(match or until), "412 unasked", given)
    holds(answer != 304 or bool(none or since), "304 unasked", given)
    tag = fields.entity_tag(etag)
    if tag is not None:
        known = GivenFields({"if-none-match": f"{tag}"})
        holds(validation.precondition(known, page) == 304, "its own tag is unknown", etag)
        strict = validation.precondition(GivenFields({"if-match": f"{tag}"}), page)
        holds(strict == (412 if tag.weak else None), "its own tag", etag)
    if none and answer == 304:
        ours = tag.opaque if tag else None
        told = any(t.opaque == ours for t in fields.entity_tags(none))
        holds(told or none.strip(" \t") in ("*", etag), "another tag", etag, none)


@target("gzip", "br", "zstd", "x-gzip", "identity", "*", ";q=0", ";q=1", ";q=0.001", ",", " ")
def accepted_codings(data: bytes) -> None:
    """Codings: none that was refused, and the fields of each say which it is."""
    accept, tag, vary_value = lines(data, 3)
    coding = codings.chosen(accept, ("br", "gzip"))
    holds(coding in (None, "br", "gzip"), "a coding that there is not", accept)
    members = [part.partition(";") for part in accept.lower().replace("x-gzip", "gzip").split(",")]
    plain = [(name.strip(), weight.strip()) for name, _, weight in members]
    if coding is not None:
        weights = [weight for name, weight in plain if name == coding]
        holds(not weights or any(w not in ("q=0", "q=0.0") for w in weights), "refused", accept)
        holds(bool(weights) or any(name == "*" for name, _ in plain), "unnamed", accept)
    lines_of = (("ETag", tag), ("Vary", vary_value), ("Content-Length", "9"))
    once = codings.coded_fields(lines_of, "gzip", b"abc")
    holds(codings.varied(once) == once, "varied twice", vary_value)
    names = [name.lower() for name, _ in once]
    holds(names.count("content-length") == 1 == names.count("content-encoding"), "fields", once)
    marked = codings.coded_tag(tag, "gzip", b"abc")
    weak = tag.startswith("W/")
    holds(weak or marked != codings.coded_tag(tag, "gzip", b"abd"), "one tag for two bodies", tag)


_DEBUG: Final = Debugger("a secret of the site", lambda: _NOW, site="x")
_VALUE: Final = _DEBUG.field(60)


@target(_VALUE, ".", "1000060", "0")
def debug_value(data: bytes) -> None:
    """The value that asks for Cache-Status: none but those that were signed."""
    value = text(data)
    holds(_DEBUG.allows(value, _NOW) == (value == _VALUE), "allowed", value)
    holds(not _DEBUG.allows(value, _NOW + 61), "allowed behind its end", value)


@target("\x00" * 8, "pagegen; hit", '"', "?", "\xff", length=600)
def cache_status(data: bytes) -> None:
    """``Cache-Status``: a list that parses, whatever namespaces and caches before us say."""
    before, *names = text(data).split("\n")
    detail = status._changed(names) if names else before
    member = status._forward("stale", 200, len(data), key=slot(data), detail=detail)
    read = http_sf.parse(member.encode("ascii"), tltype="list")
    holds(len(read) == 1 and read[0][1]["fwd"] == "stale", "not one member", member)
    holds(len(member) < 4 * status.MAX_DETAIL, "too long", len(member))
    *others, last = appended((("Cache-Status", before),), member)
    holds(last == ("Cache-Status", member), "not the last", before)
    said_before = [value for name, value in others if name == "Cache-Status"]
    holds(said_before == ([before] if before.strip(" \t") else []), "lost", before)


@target("\x00" * 16, "\x7f\xf0", "\xff\xf8", length=200)
def soft_tokens(data: bytes) -> None:
    """Tokens that remember: no bytes raise, and what was written is found again."""
    reader = Reader(data)
    fresh, before = reader.take(24).ljust(24, b"."), reader.some(64)
    hostile = reader.rest
    for present in (fresh, hostile, before):
        moment = softness.superseded(before, present)
        holds(moment is None or moment == moment, "no number", before, present)
        holds(tokens.young(present, 5.0, _NOW) in (True, False), "young", present)
    after = softness.succeed(hostile, fresh, _NOW)
    holds(len(after) <= tokens.HEAD_BYTES + 16 * softness.MAX_RECORDS, "grows", hostile)
    if after != hostile:
        holds(softness.superseded(hostile, after) == _NOW, "not found again", hostile)
    again = softness.succeed(after, fresh[::-1], _NOW + 5)
    holds(softness.superseded(hostile, again) in (_NOW, _NOW + 5, None), "another time", hostile)
    holds(softness.succeed(hostile, fresh, float("nan")) == fresh, "no time", hostile)
