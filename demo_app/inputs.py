"""What people and pages send us, checked: query strings, forms, cookies and origins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit

from demo_app.problems import BadInput, NotAllowed

SORTS: Final = ("hot", "stars", "name", "newest")
COOKIE: Final = "demo_user"
NAME_COOKIE: Final = "demo_name"
_MOST: Final = 10_000
_WIDEST: Final = 500

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of a list: positions `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many rows fit."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class CatalogueQuery:
    """What `/` was asked for."""

    window: Window
    category: str
    sort: str

    def url(self, window: Window | None = None, **changes: str) -> str:
        """The shortest address of this list, or of a neighbour of it."""
        wanted = {"category": self.category, "sort": self.sort} | changes
        query = {k: v for k, v in wanted.items() if v not in ("all", "hot")}
        if window is not None and window != Window(0, 24):
            query |= {"start": str(window.start), "end": str(window.end)}
        return "/?" + urlencode(query) if query else "/"


@dataclass(frozen=True, slots=True)
class Submission:
    """The form of a new package, as typed, and what is wrong with it by field."""

    name: str = ""
    url: str = ""
    category: str = ""
    licence: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The package's place in addresses."""
        return slugify(self.name)


def slugify(text: str) -> str:
    """`Model Fields` -> `model-fields`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def window(query: Fields, end: int) -> Window:
    """`?start=&end=`, from 0 to `end` unless told otherwise."""
    asked = Window(_number(query, "start", 0), _number(query, "end", end))
    if not 0 < asked.size <= _WIDEST:
        raise BadInput(f"“end” must be 1 to {_WIDEST} more than “start”.")
    return asked


def catalogue_query(query: Fields) -> CatalogueQuery:
    """The query of `/`, with its defaults."""
    sort = query.get("sort", "hot")
    if sort not in SORTS:
        raise BadInput(f"“sort” is one of {', '.join(SORTS)}.")
    category = query.get("category", "all")
    if not re.fullmatch(r"[a-z0-9-]{1,64}", category):
        raise BadInput("“category” is the short name of a category, such as “testing”.")
    return CatalogueQuery(window(query, 24), category, sort)


def submission(form: Fields) -> Submission:
    """The form of `/submit`; look at its `errors` before using it."""
    values = {k: form.get(k, "").strip()[:200] for k in ("name", "url", "category", "licence")}
    errors = {}
    if not 2 <= len(values["name"]) <= 60 or not slugify(values["name"]):
        errors["name"] = "Give it a name of 2 to 60 characters, with a letter or digit in it."
    if not _is_web_address(values["url"]):
        errors["url"] = "Give the whole address, such as https://github.com/pallets/flask."
    if len(values["licence"]) > 40:
        errors["licence"] = "The licence's short name is enough, such as MIT."
    return Submission(**values, errors=errors)


def local_path(value: str | None, default: str) -> str:
    """Where to go after a form: a path of this site, never another site."""
    # A browser reads `//host` and `/\host` as another site, and drops tabs and newlines first.
    if value and re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", value):
        return value
    return default


def signed_in(cookies: Fields) -> int | None:
    """The user who was chosen from the list. Anybody can set this cookie: it is a demo."""
    value = cookies.get(COOKIE, "")
    return int(value) if re.fullmatch(r"[0-9]{1,6}", value) else None


def chosen_user(form: Fields) -> int:
    """The user that somebody wants to be."""
    return _id(form.get("user", ""))


def board_favourite(form: Fields) -> tuple[int, str]:
    """The user and the package of a button on the board, which needs no signing in."""
    return _id(form.get("user", "")), form.get("slug", "")


def sample() -> Submission:
    """A package for the board's button: its name is the time of day."""
    name = f"Sample {datetime.now():%H-%M-%S-%f}"
    return Submission(name, "https://example.org/sample", "testing", "MIT")


def own_list(who: str, cookies: Fields) -> int:
    """The user whose list is to change: `who` in the address, who must be signed in."""
    me = signed_in(cookies)
    if me is None:
        raise NotAllowed("Sign in first: choose a user from the list of people.")
    if who not in ("me", str(me)):
        raise NotAllowed("You can change your own favourites only.")
    return me


def same_origin(origin: str | None, host: str) -> None:
    """Refuse a form that another site sent. The demo has no other defence against that."""
    if origin is not None and urlsplit(origin).netloc != host:
        raise NotAllowed("This form was sent from another site.")


def _number(query: Fields, name: str, default: int) -> int:
    value = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > _MOST:
        raise BadInput(f"“{name}” is a whole number from 0 to {_MOST:,}.")
    return int(value)


def _id(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise BadInput("“user” is the number of a user.")
    return int(value)


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and "." in (parts.hostname or "")
    except ValueError:
        return False
