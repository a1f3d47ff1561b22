"""Attacks as bytes, from a seed: each draws one request that somebody hostile would send.

What an attacker puts where a page must not depend on it is marked with a word of its own,
``evil-NUMBERe``: nobody else may ever read that word. Where a visitor is made to ask something, as
by a link that was sent to them, the request says who they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal
from urllib.parse import quote

from tests.security.requests_noisy import FUSSY, NAMES
from tests.security.requests_targets import target

HOST: Final = "demo.example"
#: Pages that everybody asks for, and an attacker would like to own.
HOT: Final = (
    "/", "/?start=24&end=48", "/?sort=stars", "/users", "/echo/hot", "/open/hot", "/big/hot",
    "/greet/hot", "/fragile/hot", "/packages/flask", "/packages/django", "/packages/fastapi",
    "/packages/starlette", "/packages/falcon", "/users/1/favorites", "/users/2/favorites",
)  # fmt: skip
USERS: Final = range(1, 13)
_OWN: Final = ("/own", "/own/settings", "/own/orders")
_SUFFIXES: Final = (
    ".css", ".js", ".png", "/x.css", ";x.css", "%2Fx.css", "%00.css", "%0a.css", "%3fx.css",
    "?.css", "/x.css%20", "/X.CSS", "/..;/x.css",
    "%23x.css", "//x.css", "/../x.css", "/%2e%2e/x.css", "\\x.css", "%5Cx.css", "/.css", "/x%2ecss",
    "/%E2%80%AE.css", ";.css?x", "/static/..%2f..%2fown", "/x.css/",
)  # fmt: skip

#: What becomes of the connection: read to its end, read slowly, left in the middle, or held open.
Manner = Literal["read", "slow", "abort", "hold"]


_USER: Final = re.compile(rb"(?i:demo_user)\s*=[\s\"]*([0-9]{1,6})")
EVIL: Final = re.compile(rb"evil-([0-9]+)e")


@dataclass(frozen=True, slots=True)
class Attack:
    """Bytes to send, and what becomes of the connection."""

    name: str
    data: bytes
    method: str = "GET"
    manner: Manner = "read"

    @property
    def who(self) -> frozenset[int]:
        """Users whose page may come back: all that it names, for software takes this or that."""
        return frozenset(map(int, _USER.findall(self.data)))

    @property
    def marks(self) -> frozenset[int]:
        """Words of its own that may come back."""
        return frozenset(map(int, EVIL.findall(self.data)))

    @property
    def only_if_cached(self) -> bool:
        """Whether it asks for the 504 of RFC 9111 §5.2.1.7."""
        return b"only-if-cached" in self.data


class Draw:
    """One request in the making."""

    def __init__(self, random: Random, mark: int) -> None:
        self.random, self.mark = random, mark
        self.evil = f"evil-{mark}e"
        self.fields: list[tuple[str, str]] = [("Host", HOST)]
        self.target = random.choice(HOT)
        self.method, self.version, self.body = "GET", "1.1", ""

    def field(self, name: str, value: str) -> None:
        """One field more."""
        self.fields.append((name, value))

    def user(self) -> int:
        """Somebody who was made to ask."""
        number = self.random.choice(USERS)
        self.field("Cookie", f"demo_user={number}; sid=secret-{number}-end")
        return number

    def made(self, name: str, manner: Manner = "read") -> Attack:
        """The attack."""
        lines = "".join(f"{key}: {value}\r\n" for key, value in self.fields)
        first = f"{self.method} {self.target} HTTP/{self.version}\r\n"
        whole = f"{first}{lines}Connection: close\r\n\r\n{self.body}"
        return Attack(name, whole.encode("latin-1", "replace"), self.method, manner)


def hidden_fields(draw: Draw) -> Attack:
    """Fields of published attacks, on a page that everybody gets."""
    for name in draw.random.sample(NAMES, draw.random.randrange(1, 9)):
        if name not in ("upgrade", "expect", "connection"):
            draw.field(
                name, draw.random.choice((draw.evil, f"https://{draw.evil}.example/", "POST"))
            )
    draw.field("X-Forwarded-Host", f"{draw.evil}.example")
    return draw.made("hidden fields")


def hosts(draw: Draw) -> Attack:
    """Hosts that are others, several, or none."""
    other = f"{draw.evil}.example"
    draw.fields = draw.random.choice((
        [("Host", other)], [("Host", HOST), ("Host", other)], [("Host", other), ("Host", HOST)],
        [("Host", f"{HOST}/{other}")], [("Host", f"{HOST}@{other}")], [("Host", f"{HOST}:{other}")],
        [("Host", f"{HOST}, {other}")], [], [("Host", "")], [(" Host", other), ("Host", HOST)],
        [("Host", f"{other}.{HOST}")], [("Host", f"{HOST}%23.{other}")], [("Host", f"[{other}]")],
    ))  # fmt: skip
    if draw.random.random() < 0.2:
        draw.target = f"http://{other}{draw.target}"
    return draw.made("hosts")


def flood_of_hosts(draw: Draw) -> Attack:
    """Hosts that are allowed, and nobody wants."""
    draw.fields = [("Host", f"n{draw.mark}.flood.example:{draw.random.randrange(1, 65_536)}")]
    draw.target = f"/echo/{draw.random.randrange(9)}"
    return draw.made("flood of hosts")


def spellings(draw: Draw) -> Attack:
    """Targets that software reads in two ways."""
    odd = target(draw.random)
    draw.target = draw.random.choice((odd, "/own" + odd, "/echo" + odd, odd + "/own", "/" + odd))
    if draw.random.random() < 0.5:
        draw.user()
    return draw.made("spellings")


def deception(draw: Draw) -> Attack:
    """A visitor is sent to their own page under a name that looks like everybody's."""
    draw.target = draw.random.choice(_OWN) + draw.random.choice(_SUFFIXES)
    if draw.random.random() < 0.6:  # and then the attacker asks for it
        draw.user()
    return draw.made("deception")


def another_identity(draw: Draw) -> Attack:
    """Cookies that name two people, or one in an odd way."""
    one, two = draw.random.choice(USERS), draw.random.choice(USERS)
    name = "demo_user"
    draw.target = draw.random.choice(_OWN)
    draw.field("Cookie", draw.random.choice((
        f"{name}={one}; {name}={two}", f'{name}="{one}"', f"{name}={one}\t", f"{name}=0{one}",
        f"{name} ={one}", f"$Version=1; {name}={one}", f"={name}={one}",
        f"x=\"; {name}={one}; y=\"",
        f"{name}={one}, {name}={two}", f"{name}={one};{name}", f"{name.upper()}={one}",
        f"x=1; {name}={one}%00{two}",
    )))  # fmt: skip
    if draw.random.random() < 0.3:
        draw.field("Cookie", f"{name}={two}")
    draw.field("X-User", str(two))
    return draw.made("another identity")


def flood_of_keys(draw: Draw) -> Attack:
    """Pages that nobody asks for again."""
    number = draw.random.randrange(10**9)
    draw.target = draw.random.choice((
        f"/echo/{number}", f"/?start={number % 9000}&end={number % 9000 + 24}",
        f"/packages/x{number}", f"/users/{number % 10**6}/favorites", f"/open/{number}?q={number}",
        f"/own/{number}",
        f"/greet/{number}", f"/fragile/{number}",
        f"/echo/hot?utm_x={draw.evil}&undeclared={number}",
        f"/echo/{'y' * (number % 5000)}", f"/?category={'z' * (number % 70)}&start=0",
        f"/big/{number % 50}",
    ))  # fmt: skip
    if "/own/" in draw.target:
        draw.user()
    return draw.made("flood of keys")


def flood_of_fields(draw: Draw) -> Attack:
    """Many fields, long ones, and values that no two requests share."""
    chance = draw.random
    draw.target = chance.choice(("/open/hot", "/echo/hot", "/fragile/hot"))
    draw.field(
        "Accept-Language", f"x{chance.randrange(10**6)}, {'en;q=0.1,' * chance.randrange(60)}"
    )
    draw.field("Cookie", "; ".join(f"c{n}={draw.evil}" for n in range(chance.randrange(300))))
    for number in range(chance.randrange(90)):
        draw.field(f"X-Break-{number}", f"{draw.evil} break")
    if chance.random() < 0.3:
        draw.field("X-Oversized", "break" + "a" * chance.randrange(70_000))
    if chance.random() < 0.1:
        draw.field("X-Meta", "break\x07\x00")
    if chance.random() < 0.2:  # past the cache: the application may fail as it likes
        draw.field("Authorization", "Basic eDp5")
    return draw.made("flood of fields")


def ranges(draw: Draw) -> Attack:
    """Many parts, odd parts, and parts of parts."""
    chance = draw.random
    draw.target = chance.choice(("/big/hot", "/", "/echo/hot", "/packages/flask"))
    at = [chance.randrange(400_000) for _ in range(chance.choice((1, 2, 16, 17, 400)))]
    # One that cannot be read makes a Range none, whatever stands beside it.
    fewest = chance.choice((0, 0, -3))
    draw.field("Range", "bytes=" + ",".join(f"{n}-{n + chance.randrange(fewest, 99)}" for n in at))
    if chance.random() < 0.3:
        draw.field("If-Range", f'"{draw.evil}"')
    draw.method = chance.choice(("GET", "GET", "HEAD"))
    return draw.made("ranges", chance.choice(("read", "read", "read", "abort")))


def conditions(draw: Draw) -> Attack:
    """Guesses at somebody's page, and what a client may ask of a cache."""
    chance = draw.random
    tags = ", ".join(f'"{draw.evil}{n}"' for n in range(chance.choice((1, 9, 900))))
    draw.target = chance.choice((*HOT, *_OWN))
    draw.field(
        chance.choice(("If-None-Match", "If-Match")), chance.choice((tags, "*", "W/" + tags))
    )
    value = chance.choice(
        ("no-cache", "no-store", "max-age=0", "only-if-cached", "min-fresh=999999")
    )
    draw.field(chance.choice((*FUSSY, "Cache-Control")), value)
    return draw.made("conditions")


def forged(draw: Draw) -> Attack:
    """Debug headers and cookies of writers that nobody signed."""
    chance = draw.random
    mac = "".join(chance.choices("0123456789abcdef", k=32))
    stamp = chance.choice(("1", "9999999999", "1893456000", "-1", "1e9", "٣"))
    draw.field("Pagegen-Debug", f"{stamp}.{mac}".encode().decode("latin-1"))
    draw.field("Cookie", f"__Host-pagegen_wrote_{mac[:8]}={stamp}.{mac}; pagegen_wrote=1")
    draw.field("Pagegen-Cache-Control", "max-age=99999")
    draw.field("Cache-Groups", f'"{draw.evil}", "catalogue"')
    draw.field("Cache-Group-Invalidation", '"catalogue", "users"')
    return draw.made("forged")


def methods(draw: Draw) -> Attack:
    """Methods that purge, override, or nobody knows."""
    draw.method = draw.random.choice((
        "PURGE", "BAN", "INVALIDATE", "get", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD",
        "PROPFIND", "QUERY", "X" * 40, "GET\x0b",
    ))  # fmt: skip
    draw.target = draw.random.choice((*HOT, *_OWN, "*"))
    draw.field("X-HTTP-Method-Override", "DELETE")
    draw.field("Content-Length", "0")
    return draw.made("methods")


def framing(draw: Draw) -> Attack:
    """Bodies on a GET, lengths that disagree, and a second request hidden in the first."""
    chance = draw.random
    second = f"GET /own HTTP/1.1\r\nHost: {HOST}\r\nX-Second: {draw.evil}\r\n\r\n"
    draw.target = chance.choice(HOT)
    draw.body = chance.choice(
        (second, f"0\r\n\r\n{second}", f"q={draw.evil}", "5\r\nhello\r\n0\r\n\r\n")
    )
    for line in chance.choice((
        [("Content-Length", str(len(draw.body)))], [("Transfer-Encoding", "chunked")],
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")], [("Content-Length", "0")],
        [("Content-Length", "5"), ("Content-Length", "6")], [("Transfer-Encoding", "xchunked")],
        [("Content-Length", "+5")], [("Transfer-Encoding", "chunked, identity")], [],
    )):  # fmt: skip
        draw.fields.append(line)
    draw.version = chance.choice(("1.1", "1.1", "1.0", "2.0"))
    return draw.made("framing")


def broken_bytes(draw: Draw) -> Attack:
    """An honest request in which some bytes are others."""
    chance, made = draw.random, hidden_fields(draw)
    data = bytearray(made.data)
    for _ in range(chance.randrange(1, 9)):
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(1, 9)]
            case _:
                data[at:at] = chance.choice(
                    (b"\r\n", b"\0", b"\n", b": ", b" ", b"\xff", b"HTTP/1.1")
                )
    # A server waits for the end of what has none.
    ends = data.endswith(b"\r\n\r\n")
    manner: Manner = "read" if ends else "hold"
    return replace(made, name="broken bytes", data=bytes(data), manner=manner)


def slow_reader(draw: Draw) -> Attack:
    """A large page, taken a little at a time."""
    draw.target = draw.random.choice(("/big/hot", f"/big/{draw.random.randrange(99)}", "/"))
    return draw.made("slow reader", "slow")


def gone(draw: Draw) -> Attack:
    """A client that leaves while its page is made, or sent."""
    draw.target = draw.random.choice(
        (f"/big/{draw.random.randrange(99)}", "/big/hot", "/users", "/")
    )
    draw.field("Cache-Control", draw.random.choice(("no-cache", "max-age=600")))
    return draw.made("gone", "abort")


def endless_head(draw: Draw) -> Attack:
    """A head that never ends."""
    made = draw.made("endless head", "hold")
    return replace(made, data=made.data[:-2] + b"X-Slow: ")


def strangers_writes(draw: Draw) -> Attack:
    """Forms from elsewhere, for others, with odd places to go to."""
    who = draw.random.choice(USERS)
    draw.method, draw.target = "POST", draw.random.choice((
        f"/users/{who}/favorites/flask", "/packages/flask/vote", "/submit", "/board/do", "/own",
        "/echo/hot", "/sign-in", f"/packages/{quote(draw.evil)}/vote",
    ))  # fmt: skip
    draw.body = f"next=//{draw.evil}.example/&user=x"
    draw.field("Origin", f"https://{draw.evil}.example")
    draw.field("Content-Type", "application/x-www-form-urlencoded")
    draw.field("Content-Length", str(len(draw.body)))
    return draw.made("strangers' writes")


QUICK: Final[tuple[Callable[[Draw], Attack], ...]] = (
    hidden_fields, hosts, flood_of_hosts, spellings, deception, another_identity, flood_of_keys,
    flood_of_fields, ranges, conditions, forged, methods, framing, broken_bytes, gone,
    strangers_writes,
)  # fmt: skip
#: Those that keep a connection, and on some servers a thread.
LINGERING: Final = (slow_reader, endless_head)


def draw(random: Random, mark: int, *, lingering: bool = False) -> Attack:
    """Any attack. ``mark`` is its own number."""
    return random.choice(LINGERING if lingering else QUICK)(Draw(random, mark))
