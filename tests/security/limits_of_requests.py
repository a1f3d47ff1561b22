"""How the limits of requests and pages are hit."""

from __future__ import annotations

from typing import Final

from pagegen import Identity
from pagegen.collecting import Room
from pagegen.identities import parse_source
from pagegen.testing import Reply
from tests.security.limits import Stage, Trial, answering, asking, gets, hits, page

_LANGUAGE: Final = {"accept-language": {"values": ["en", "de"], "default": "en"}}
_HTTP: Final = page(mode="http")
_MINE: Final = page(share=["user"])
_USER: Final = Identity(name="user", sources=(parse_source("cookie:user"),))


@hits("pagegen.planning.MAX_PATH", "bypass:path")
def _path(stage: Stage) -> Trial:
    return asking(stage, page(), "/" + "a" * 4095, "/" + "a" * 4096)


@hits("pagegen.queries.MAX_LENGTH", "bypass:query")
def _query(stage: Stage) -> Trial:
    rule = page(other_query="key")
    return asking(stage, rule, "/?" + "a" * 8192, "/?" + "a" * 8193)


@hits("pagegen.queries.MAX_PARAMETERS", "bypass:query")
def _parameters(stage: Stage) -> Trial:
    rule = page(other_query="drop")
    return asking(stage, rule, "/?" + "&".join(["a"] * 256), "/?" + "&".join(["a"] * 257))


@hits("key `max_length` of `[rule.query]`", "bypass:query")
def _parameter(stage: Stage) -> Trial:
    return asking(stage, page(query={"a": {}}), "/?a=" + "x" * 256, "/?a=" + "x" * 257)


@hits("key `max_repeats`", "bypass:query")
def _repeats(stage: Stage) -> Trial:
    rule = page(query={"a": {"repeat": "list"}})
    return asking(stage, rule, "/?" + "&".join(["a=1"] * 16), "/?" + "&".join(["a=1"] * 17))


@hits("key `max_length` of `[rule.headers]`", "bypass:header")
def _header(stage: Stage) -> Trial:
    rule = page(headers={"x-kind": {}})
    return asking(stage, rule, {"x-kind": "k" * 256}, {"x-kind": "k" * 257})


@hits("key `max_length` of `[rule.headers]`", "bypass:cookie")
def _cookie(stage: Stage) -> Trial:
    rule = page(cookies={"c": {}})
    return asking(stage, rule, {"cookie": "c=" + "k" * 256}, {"cookie": "c=" + "k" * 257})


@hits("pagegen.identification.MAX_LENGTH", "bypass:identity")
def _identity(stage: Stage) -> Trial:
    within, over = ({"cookie": "user=" + "u" * length} for length in (4096, 4097))
    return asking(stage, _MINE, within, over, identities=[_USER])


@hits("pagegen.namespaces.MAX_LENGTH", "bypass:namespace")
def _namespace(stage: Stage) -> Trial:
    rule = page("/{name}", namespaces=["n:{name}"])
    return asking(stage, rule, "/" + "n" * 510, "/" + "n" * 511)


@hits("pagegen.patterns._MAX_DIGITS", "bypass:no-rule")
def _digits(stage: Stage) -> Trial:
    return asking(stage, page("/{number:int}"), "/" + "9" * 19, "/" + "9" * 20)


@hits("pagegen.parameters.MAX_NEGOTIATED", "unread:accept")
def _negotiated(stage: Stage) -> Trial:
    rule = page(headers=_LANGUAGE)
    within, over = ({"accept-language": "x" * length} for length in (512, 513))
    return asking(stage, rule, within, over)


@hits("pagegen.negotiation.MAX_MEMBERS", "unread:accept")
def _members(stage: Stage) -> Trial:
    rule = page(headers=_LANGUAGE)
    within, over = ({"accept-language": ",".join(["de"] * number)} for number in (64, 65))
    return asking(stage, rule, within, over)


@hits("pagegen.fields.MAX_COOKIES", "bypass:cookie", "bypass:identity")
def _cookies(stage: Stage, counter: str) -> Trial:
    within, over = ({"cookie": "user=7;" + " " * (length - 7)} for length in (16384, 16385))
    if counter == "bypass:identity":
        return asking(stage, _MINE, within, over, identities=[_USER])
    return asking(stage, page(cookies={"user": {}}), within, over)


@hits("pagegen.fields.MAX_VALUE", "unread:cache-control", "unread:range")
def _value(stage: Stage, counter: str) -> Trial:
    name, said = counter.partition(":")[2], "bytes=0-1" if counter == "unread:range" else "x"
    return asking(stage, page(), *({name: said + "," * (n - len(said))} for n in (8192, 8193)))


@hits("pagegen.fields.MAX_VALUE", "refused:no-store", "refused:vary")
def _answered(stage: Stage, counter: str) -> Trial:
    if counter == "refused:vary":
        name, said = "Vary", "accept"
    else:
        name, said = "Cache-Control", "max-age=60"
    within, over = ([(name, said + "," * (n - len(said)))] for n in (8192, 8193))
    return answering(stage, _HTTP, within, over)


@hits("pagegen.law.ranges.MAX_RANGES", "unread:range")
def _ranges(stage: Stage) -> Trial:
    # An empty member is none.
    within, over = ({"range": "bytes=" + "0-0," * number} for number in (16, 17))
    return asking(stage, page(), within, over)


@hits("pagegen.law.vary.MAX_SELECTING", "refused:vary")
def _selecting(stage: Stage) -> Trial:
    within, over = ([("Vary", ", ".join(f"x-{n}" for n in range(most)))] for most in (16, 17))
    return answering(stage, _HTTP, within, over)


@hits("pagegen.law.vary.MAX_NORMALISED", "unread:vary")
def _normalised(stage: Stage) -> Trial:
    site = stage.scenario(_HTTP)
    site.handler = lambda _: Reply(b"page", fields=[("Vary", "accept")])
    site.get("/page")  # from here on it is known what it varies by
    within, over = ({"accept": "a/" + "b" * length} for length in (1022, 1023))
    return Trial(site.cache, lambda: site.get("/page", within), lambda: site.get("/page", over))


@hits("pagegen.groups.MAX_GROUPS", "refused:groups")
def _groups(stage: Stage) -> Trial:
    named = ([("Cache-Groups", ", ".join(f'"g{n}"' for n in range(most)))] for most in (128, 129))
    return answering(stage, page(groups=True), *named)


@hits("pagegen.rules.DEFAULT_MAX_BODY", "refused:too-large")
def _body(stage: Stage) -> Trial:
    site = stage.scenario(page())
    site.handler = lambda seen: Reply(bytes(2**20 + (seen.path == "/p1")))
    return Trial(site.cache, gets(site, 0), gets(site, 1))


@hits("pagegen.law.storing.MAX_HEAD", "refused:head-too-large")
def _head(stage: Stage) -> Trial:
    within, over = ([("X-A", "a" * (2**16 - less))] for less in (1000, 0))
    return answering(stage, page(), within, over)


@hits("pagegen.collecting.MAX_COLLECTED", "refused:crowded")
def _crowded(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.state.Room", lambda: Room(20_000))
    site = stage.scenario(page())
    piece = bytes(40_000)
    site.handler = lambda seen: Reply(iter([piece] * (3 if seen.path == "/p1" else 2)))
    return Trial(site.cache, gets(site, 0), gets(site, 1))


@hits("pagegen.variants.MAX_VARIANTS", "remembered_variants_dropped")
def _variants(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.variants.MAX_VARIANTS", 3)
    site = stage.scenario(_HTTP)
    site.handler = lambda _: Reply(b"page", fields=[("Vary", "x-kind")])

    def ask(*kinds: str) -> None:
        for kind in kinds:
            site.get("/page", {"x-kind": kind})

    return Trial(site.cache, lambda: ask("a", "b", "c"), lambda: ask("d"))
