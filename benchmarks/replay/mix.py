"""The request mix of lobste.rs, and a sequence of requests for the demo that has its shares.

Rules of this file:

1. Each line of ``lobsters-requests.dat`` has its counterpart among the demo's own routes, or a
   stand-in that is named as one (``ACTIONS``). None is left out.
2. What is popular is so by the files: a package by the votes that stories got, one that is talked
   about by the comments that stories got, a user by the votes that users gave.
3. A sequence has the file's shares to within one request of each kind, in random order. The same
   seed makes the same sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

DATA: Final = Path(__file__).parent.parent / "data"
#: How many pages deep the lists are that have a page number in the trace.
DEEP: Final = 4
#: Rows on a page of the demo's catalogue.
ROWS: Final = 24

_T = TypeVar("_T")

Kind = Literal[
    "package", "hot", "list", "category", "newest", "vote", "favourite", "submit", "in", "out"
]  # fmt: skip


class Action(NamedTuple):
    """What a line of the trace becomes. ``stands_in``: the demo has nothing like it."""

    kind: Kind
    route: str
    stands_in: str = ""


_SMALL: Final = "no comments: a favourite comes or goes"
#: Each line of the trace, by method and path.
ACTIONS: Final[dict[str, Action]] = {
    "GET /stories/X": Action("package", "GET /packages/{slug}"),
    "GET /": Action("hot", "GET /"),
    "GET /u/X": Action("list", "GET /users/{user}/favorites"),
    "GET /comments[/X]": Action(
        "category", "GET /?category={category}", "no comments: another list"
    ),
    "GET /recent[/X]": Action("newest", "GET /?sort=newest"),
    "POST /comments/X/upvote": Action("favourite", "POST /users/me/favorites/{slug}", _SMALL),
    "POST /stories/X/upvote": Action("vote", "POST /packages/{slug}/vote"),
    "POST /comments": Action("favourite", "POST /users/me/favorites/{slug}", _SMALL),
    "POST /login": Action("in", "POST /sign-in"),
    "POST /comments/X": Action("favourite", "POST /users/me/favorites/{slug}", _SMALL),
    "POST /comments/X/downvote": Action("favourite", "POST /users/me/favorites/{slug}", _SMALL),
    "POST /stories": Action("submit", "POST /submit"),
    "POST /stories/X/downvote": Action("vote", "POST /packages/{slug}/vote", "no down: up"),
    "POST /logout": Action("out", "POST /sign-out"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One request. ``writes``: the items whose versions it makes higher; see ``site``."""

    action: str
    method: str
    target: str
    user: int
    body: bytes = b""
    writes: tuple[str, ...] = ()
    needs_user: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What there is to ask for: packages and categories by slug, users by number."""

    packages: Sequence[str]
    categories: Sequence[str]
    users: Sequence[int]


def counts() -> dict[str, int]:
    """How many requests of each kind the live site had, as the file says."""
    found = {}
    for line in (DATA / "lobsters-requests.dat").read_text(encoding="ascii").splitlines():
        number, _, method, path = line.split()
        found[f"{method} {path}"] = int(number)
    return found


def weights(name: str, size: int) -> list[float]:
    """Popularity of ``size`` things, spread as in one of the files ``lobsters-{name}.dat``.

    Thing k stands for its quantile of the histogram; within a bin they are spread evenly.
    """
    lines = (DATA / f"lobsters-{name}.dat").read_text(encoding="ascii").splitlines()
    bins = [(int(low), int(count)) for low, count in map(str.split, lines)]
    width = bins[1][0] - bins[0][0]
    ends = list(accumulate(count for _, count in bins))
    found, place = [], 0
    for k in range(size):
        quantile = (k + 0.5) / size * ends[-1]
        while ends[place] < quantile:
            place += 1
        low, count = bins[place]
        found.append(low + width * (quantile - (ends[place] - count)) / count)
    return found


def shares(number: int) -> dict[str, int]:
    """``number`` requests divided as in the file, by the largest remainder."""
    there = counts()
    whole = sum(there.values())
    found = {name: number * count // whole for name, count in there.items()}
    rest = sorted(there, key=lambda name: -(number * there[name] % whole))
    for name in rest[: number - sum(found.values())]:
        found[name] += 1
    return found


def sequences(place: Place, numbers: Sequence[int], seed: int) -> list[list[Step]]:
    """So many requests with the shares of the trace, one list after the other on the same site."""
    maker = _Maker(place, Random(seed))
    return [maker.steps(number) for number in numbers]


class _Maker:
    """Draws who does what to which package."""

    def __init__(self, place: Place, random: Random) -> None:
        self._place = place
        self._random = random
        self._submitted = 0
        packages, users = list(place.packages), list(place.users)
        random.shuffle(packages)
        random.shuffle(users)
        self._packages, self._users = packages, users
        size = len(packages)
        self._voted = list(accumulate(weights("votes_per_story", size)))
        # Who is voted for is talked about: one order for both. A story may have no comment yet.
        self._discussed = list(accumulate(weights("comments_per_story", size)))
        self._active = list(accumulate(weights("votes_per_user", len(users))))

    def steps(self, number: int) -> list[Step]:
        """So many requests with the file's shares."""
        names = [name for name, count in shares(number).items() for _ in range(count)]
        self._random.shuffle(names)
        return [self._step(name) for name in names]

    def _step(self, name: str) -> Step:
        action = ACTIONS[name]
        user = self._user()
        if action.kind == "favourite":
            return self._favourite(name, user)
        if action.kind == "vote":
            slug = self._drawn(self._packages, self._voted)
            writes = (f"package:{slug}", "catalogue")
            back = {"next": f"/packages/{slug}"}
            return _post(name, f"/packages/{slug}/vote", user, back, writes)
        if action.kind == "submit":
            return self._submission(name, user)
        if action.kind == "in":
            return sign_in(user, name)
        if action.kind == "out":
            return _post(name, "/sign-out", user, {})
        return Step(name, "GET", self._target(action.kind), user)

    def _target(self, kind: Kind) -> str:
        if kind == "package":
            # As trawler has it: stories with more votes are read more.
            return f"/packages/{self._drawn(self._packages, self._voted)}"
        if kind == "list":
            return f"/users/{self._user()}/favorites"
        if kind == "category":
            return f"/?category={self._random.choice(self._place.categories)}"
        if kind == "newest":
            start = ROWS * self._random.randrange(DEEP)
            return f"/?sort=newest&start={start}&end={start + ROWS}" if start else "/?sort=newest"
        return "/"

    def _favourite(self, name: str, user: int) -> Step:
        slug = self._drawn(self._packages, self._discussed)
        writes = (f"package:{slug}", f"list:{user}")
        # There are two such forms: on a package's page, and on the user's own list.
        back = f"/users/{user}/favorites" if "vote" in name else f"/packages/{slug}"
        path = f"/users/me/favorites/{slug}"
        return _post(name, path, user, {"next": back}, writes, needs_user=True)

    def _submission(self, name: str, user: int) -> Step:
        self._submitted += 1
        form = {
            "name": f"Replayed package {self._submitted}",
            "url": "https://example.org/replayed",
            "category": self._random.choice(self._place.categories),
            "licence": "MIT",
        }
        return _post(name, "/submit", user, form, ("catalogue",))

    def _user(self) -> int:
        # As trawler has it: who votes much reads much, writes much, and is looked at much.
        return self._drawn(self._users, self._active)

    def _drawn(self, things: Sequence[_T], cumulated: Sequence[float]) -> _T:
        return self._random.choices(things, cum_weights=cumulated)[0]


def sign_in(user: int, action: str = "") -> Step:
    """Choose who to be, by the demo's own form."""
    return _post(action, "/sign-in", user, {"user": str(user)})


def _post(
    action: str,
    target: str,
    user: int,
    form: dict[str, str],
    writes: tuple[str, ...] = (),
    *,
    needs_user: bool = False,
) -> Step:
    body = urlencode(form).encode("ascii")
    return Step(action, "POST", target, user, body, writes, needs_user)
