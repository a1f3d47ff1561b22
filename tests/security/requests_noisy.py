"""Requests that agree in all that is keyed and differ in all else, from a seed, for both fronts.

An :class:`Asked` is what a page is keyed by. ``noisy`` makes a request of it that says a lot more:
fields, cookies, undeclared parameters, other spellings, addresses, and what servers and middleware
leave in an environ or scope.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from pagegen import Identity, Rule, parse_source

#: Fields of published attacks, of browsers, proxies and CDNs: none is keyed by the rules below.
NAMES: Final = (
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded",
    "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-scheme", "x-forwarded", "x-host",
    "x-original-url", "x-rewrite-url", "x-original-host", "x-http-method-override", "x-method",
    "x-http-method", "x-method-override", "x-http-path-override", "x-script-name", "x-real-ip",
    "client-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip", "x-envoy-original-path",
    "x-middleware-subrequest", "x-now-route-matches", "x-matched-path", "proxy", "via", "te",
    "user-agent", "referer", "origin", "dnt", "save-data", "sec-ch-ua", "sec-fetch-site", "expect",
    "x-requested-with", "x-wap-profile", "x-csrf-token", "x-api-version", "from", "priority",
    "accept", "accept-encoding", "accept-charset", "content-type", "content-language", "upgrade",
    "if-none-match", "if-match", "if-modified-since", "if-unmodified-since", "connection",
    "keep-alive", "proxy-authorization", "max-forwards", "x-custom", "x_forwarded_host",
    "transfer_encoding_x", "x-hx-request", "rsc", "next-router-prefetch", "x-timezone", "geo",
)  # fmt: skip
#: Fields by which a client says what it wants of a cache; answers to them differ by what there is.
FUSSY: Final = ("range", "if-range", "cache-control", "pragma")
_WORDS: Final = (
    "evil.example", "/admin", "POST", "1", "", "a, b", '"x"', "W/\"y\"", "*", "bytes=0-3", "https",
    "no-cache", "max-age=0", "<script>alert(1)</script>", "203.0.113.7", "gzip, br;q=0", "\xe9\xff",
    "for=1;host=evil.example", "Mon, 01 Jan 2035 00:00:00 GMT", "x" * 300, "close, x-kind, host",
    "%0d%0aSet-Cookie: a=b", "null", "127.0.0.1, 10.0.0.1",
)  # fmt: skip
#: Queries that are keyed as they came: which one it is, ``user`` says.
VERBATIM: Final = {0: "", 7: "z=1&z=2;%41", 8: "z=2&z=1;A"}
_TRACKERS: Final = ("utm_source", "debug", "callback", "_method", "admin[]", "x-y", "é", "", "Q")

LANGUAGES: Final = {
    "en": ("en", "en-GB", "fr, en;q=0.2", "EN;q=1.0"),
    "de": ("de", "de-AT,en;q=0.1", "DE, *;q=0"),
}


def identity(name: str, *sources: str) -> Identity:
    """An identity that is asked for in these places."""
    return Identity(name=name, sources=tuple(map(parse_source, sources)))


IDENTITIES: Final = (
    identity("visitor", "cookie:session"),
    identity("caller", "header:x-user"),
    identity("user", "scope:user.id", "environ:REMOTE_USER"),
)
_QUERY: Final = {"q": {"default": ""}, "page": {"type": "int", "default": 1}, "tag": {}}
_KEYED: Final = {
    "headers": {"accept-language": {"values": ["en", "de"], "default": "en"}, "x-kind": {}},
    "cookies": {"theme": {"values": ["dark", "light"], "default": "light"}},
}

# Without a namespace of its URL a page is kept apart by its slot alone.
_ANY: Final[dict[str, Any]] = {
    "ttl": "1h", "other_query": "drop", "query": _QUERY, "own_url": False
}  # fmt: skip
RULES: Final = (
    Rule(path="/public/{n}", share="public", **_ANY),
    Rule(path="/keyed/{n}", share="public", **_ANY, **_KEYED),
    Rule(path="/mine/{n}", share=["visitor"], **_ANY),
    Rule(path="/caller/{n}", share=["caller"], **_ANY),
    Rule(path="/user/{n}", share=["user"], **_ANY),
    Rule(path="/verbatim/{n}", share="public", ttl="1h", other_query="key"),
    Rule(path="/strict/{n}", share="public", ttl="1h", drop_query=["utm_*"], query=_QUERY),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a page is keyed by."""

    root: str
    path: str
    host: str
    scheme: str
    query: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    user: int | None = None

    @property
    def family(self) -> str:
        """The first segment, which says under which rule it is."""
        return self.path.split("/")[1]


@dataclass(slots=True)
class Noisy:
    """One request as it comes over the wire, and what is around it."""

    asked: Asked
    host: str = ""
    raw_path: str = ""
    query: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: tuple[str, int] = ("203.0.113.9", 40_000)
    server: tuple[str, int] = ("127.0.0.1", 80)
    version: str = "1.1"
    around: dict[str, Any] = field(default_factory=dict)

    @property
    def fussy(self) -> bool:
        """Whether the client asks something of the cache itself."""
        return any(name in self.fields for name in FUSSY)


def asked(random: Random, number: int) -> Asked:
    """A page that nobody has asked for, under one of the rules."""
    rule = random.choice(RULES)
    family = rule.path.split("/")[1]
    odd = random.choice(("", "", "é", " x", "(b)", "[c]|", '"<i>'))
    return _drawn(random, f"/{family}/{number}{odd}")


#: What of an :class:`Asked` is keyed besides the path.
_PARTS: Final = ("root", "host", "scheme", "query", "fields", "cookies", "user")


def sibling(random: Random, one: Asked) -> Asked:
    """Another page of the same path: one thing that is keyed differs."""
    while True:
        drawn, part = _drawn(random, one.path), random.choice(_PARTS)
        other = replace(one, **{part: getattr(drawn, part)})
        if _canonical(other) != _canonical(one):
            return other


def _canonical(one: Asked) -> Asked:
    """The same with what defaults stand for."""
    theme = (("theme", "light"),) if one.family == "keyed" else ()
    return replace(one, query=tuple(sorted(one.query)), cookies=one.cookies or theme)


def _drawn(random: Random, path: str) -> Asked:
    family = path.split("/")[1]
    query: list[tuple[str, str]] = []
    if family != "verbatim":
        if random.random() < 0.4:
            query.append(("q", random.choice(("a", "a b", "é", "%", "a&b=c", "+"))))
        if random.random() < 0.4:
            query.append(("page", str(random.randrange(2, 20))))
    fields, cookies, user = [], [], None
    if family == "keyed":
        fields.append(("accept-language", random.choice(tuple(LANGUAGES))))
        fields += [("x-kind", random.choice("ab"))] * random.randrange(2)
        cookies += [("theme", random.choice(("dark", "light")))] * random.randrange(2)
    if family == "mine":
        cookies += [("session", random.choice(("ada", "eve")))] * random.randrange(2)
    if family == "caller":
        fields += [("x-user", random.choice(("ada", "7")))] * random.randrange(2)
    if family in ("user", "verbatim"):
        user = random.choice((None, 7, 8))
    return Asked(
        random.choice(("", "", "/mount", "/é [x]")),
        path,
        random.choice(("shop.example", "shop.example:8080", "[::1]:80", "127.0.0.1")),
        random.choice(("http", "https")),
        tuple(query),
        tuple(fields),
        tuple(cookies),
        user,
    )


def plain(one: Asked) -> Noisy:
    """The request that says nothing more."""
    query = "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in one.query)
    query = VERBATIM[one.user or 0] if one.family == "verbatim" else query
    made = Noisy(one, one.host, spelling(one.root + one.path), query)
    made.fields.update(one.fields)
    if one.cookies:
        made.fields["cookie"] = "; ".join(f"{name}={value}" for name, value in one.cookies)
    return made


def spelling(path: str) -> str:
    """A path as browsers escape it."""
    return quote(path, safe="/!$&'()*+,:=@~")


def noisy(random: Random, one: Asked) -> Noisy:
    """A request for the same page that says as much more as it can."""
    made = plain(one)
    for name in random.sample(NAMES, random.randrange(12)):
        made.fields[name] = random.choice(_WORDS)
    for name in random.sample(FUSSY, 1 if random.random() < 0.2 else 0):
        made.fields[name] = random.choice(("bytes=0-9", "no-cache", "max-age=0", "no-store"))
    made.fields.update(_rarely(random))
    made.query = _query(random, one)
    made.raw_path = _spelled(random, made.raw_path)
    made.host = one.host.upper() if random.random() < 0.1 else one.host
    _keyed_otherwise(random, made)
    _cookies(random, made)
    _around(random, made)
    return made


def _rarely(random: Random) -> dict[str, str]:
    """What sends a request past the cache."""
    if random.random() > 0.06:
        return {}
    return random.choice(
        (
            {"authorization": "Basic eDp5"},
            {"content-length": "3"},
            {"transfer-encoding": "chunked"},
            {"upgrade": "websocket"},
        )
    )


def _query(random: Random, one: Asked) -> str:
    pairs = [(name, _digits(random, name, value)) for name, value in one.query]
    if one.family == "verbatim":
        return VERBATIM[one.user or 0]
    prefix = "utm_" if one.family == "strict" and random.random() < 0.9 else ""
    more = range(random.randrange(3))
    pairs += [(prefix + random.choice(_TRACKERS), random.choice(_WORDS[:5])) for _ in more]
    random.shuffle(pairs)
    return "&".join(f"{_escaped(random, n)}={_escaped(random, v)}" for n, v in pairs)


def _digits(random: Random, name: str, value: str) -> str:
    return value.zfill(random.randrange(1, 5)) if name == "page" else value


def _escaped(random: Random, text: str) -> str:
    if random.random() < 0.3:
        return "".join(f"%{byte:02{random.choice('xX')}}" for byte in text.encode())
    return quote(text, safe="").replace("%20", random.choice(("+", "%20")))


def _spelled(random: Random, raw: str) -> str:
    """Mostly as it was; else with an escape more, or fewer, or in small letters."""
    chance = random.random()
    if chance < 0.8:
        return raw
    if chance < 0.9:
        at = random.randrange(1, len(raw))
        return raw if raw[at] in "%/" or "%" in raw[at - 2 : at] else _at(raw, at)
    return random.choice((raw.lower(), raw.replace("%5B", "["), raw.replace("%3C", "<")))


def _at(raw: str, at: int) -> str:
    return f"{raw[:at]}%{ord(raw[at]):02X}{raw[at + 1 :]}"


def _keyed_otherwise(random: Random, made: Noisy) -> None:
    """Keyed fields in another spelling of the same value."""
    language = dict(made.asked.fields).get("accept-language")
    if language:
        made.fields["accept-language"] = random.choice(LANGUAGES[language])
    elif made.asked.family == "keyed" or random.random() < 0.3:
        made.fields["accept-language"] = random.choice(LANGUAGES["en"])
    if made.asked.family not in ("caller", "keyed"):
        made.fields["x-user"] = made.fields["x-kind"] = random.choice(_WORDS)


def _cookies(random: Random, made: Noisy) -> None:
    pairs = [f"{name}={value}" for name, value in made.asked.cookies]
    if made.asked.family != "keyed":
        pairs += ["theme=pink"] * random.randrange(2)
    if made.asked.family != "mine":
        pairs += [f"session={random.choice(('ada', 'eve'))}"] * random.randrange(2)
    pairs += random.sample(("a=1", "sessionid=s3cr3t", "=x", "Theme=9", "csrf", 'b="c'), 2)
    random.shuffle(pairs)
    made.fields["cookie"] = random.choice(("; ", ";")).join(pairs)


def _around(random: Random, made: Noisy) -> None:
    made.client = (f"203.0.113.{random.randrange(256)}", random.randrange(65_536))
    made.server = random.choice((("127.0.0.1", 80), ("10.0.0.1", 8080), (made.host, 443)))
    made.version = random.choice(("1.0", "1.1", "2", "3"))
    # Over HTTP/2 a body needs no length.
    made.body = random.choice((b"", b"", b'{"role": "admin"}'))
    made.around = {
        "evil": random.random(), "session": {"cart": random.random()}, "REMOTE_HOST": "evil",
        "SSL_CLIENT_S_DN": "CN=eve", "auth": ["admin"], "wsgi.input_terminated": True,
        "PATH_TRANSLATED": f"/srv/{random.random()}", "REDIRECT_URL": "/admin",
        "werkzeug.socket": random.random(),
    }  # fmt: skip


class User:
    """What a middleware that knows people leaves for the application."""

    def __init__(self, number: int) -> None:
        self.id = number

    def __repr__(self) -> str:
        return f"User({self.id})"


def environ_of(made: Noisy) -> dict[str, Any]:
    """A WSGI environ as servers and middleware make it."""
    one = made.asked
    found: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": one.root.encode().decode("latin-1"),
        "PATH_INFO": one.path.encode().decode("latin-1"),
        "RAW_URI": made.raw_path + (f"?{made.query}" if made.query else ""),
        "QUERY_STRING": made.query,
        "SERVER_NAME": made.server[0],
        "SERVER_PORT": str(made.server[1]),
        "SERVER_PROTOCOL": f"HTTP/{made.version}",
        "REMOTE_ADDR": made.client[0],
        "REMOTE_PORT": str(made.client[1]),
        "HTTP_HOST": made.host,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": one.scheme,
        "wsgi.input": io.BytesIO(made.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **made.around,
    }
    for name, value in made.fields.items():
        bare = name in ("content-type", "content-length")
        found[("" if bare else "HTTP_") + name.upper().replace("-", "_")] = value
    if one.user is not None and one.family == "user":
        found["REMOTE_USER"] = one.user
    return found


def scope_of(made: Noisy, lifespan_state: dict[str, Any]) -> dict[str, Any]:
    """An ASGI scope as servers and middleware make it."""
    one = made.asked
    fields = {"host": made.host, **made.fields}
    offered = ("http.response.push", "http.response.trailers") if made.version > "1.1" else ()
    found: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": made.version,
        "method": "GET",
        "scheme": one.scheme,
        "path": one.root + one.path,
        "raw_path": made.raw_path.encode("latin-1"),
        "query_string": made.query.encode("latin-1"),
        "root_path": one.root,
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields.items()],
        "client": made.client,
        "server": made.server,
        "extensions": {"tls": {"client_cert_name": "eve"}, **{name: {} for name in offered}},
        # Middleware in front may have set what the lifespan had set, too.
        "state": {**lifespan_state, "dark": made.client[1] % 2 == 0, "user": made.client},
        **made.around,
    }
    if one.user is not None and one.family == "user":
        found["user"] = User(one.user)
    return found


def decoded(raw: str) -> bytes:
    """A raw path without its escapes."""
    return unquote_to_bytes(raw)
