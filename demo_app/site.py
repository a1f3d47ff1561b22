"""The pages to read, as HTML. Each measures what it costs; none knows who calls it."""

from typing import Any

from sqlalchemy import Engine

from demo_app import chart, heat, inputs
from demo_app.catalogue import Catalogue, Package
from demo_app.cost import measuring
from demo_app.inputs import Fields, Submission, Window
from demo_app.pages import Pages
from pagegen import namespace


class Site:
    """Everything behind a GET, over one database."""

    def __init__(self, engine: Engine) -> None:
        self.catalogue = Catalogue(engine)
        self.pages = Pages()

    def listing(self, fields: Fields) -> str:
        """`/`"""
        with measuring() as cost:
            query = inputs.catalogue_query(fields)
            listing = self.catalogue.listing(query)
            view = {
                "query": query,
                "listing": listing,
                "pager": _pager(query.window, listing.total),
            }
            return self.pages.render("catalogue.html", cost, ["catalogue"], **view)

    def package(self, slug: str) -> str:
        """`/packages/{slug}`"""
        with measuring() as cost:
            package = self.catalogue.package(slug)
            view = {"package": package, "charts": _charts(package), "vote": heat.VOTE}
            names = [namespace("package:{slug}", slug=slug)]
            return self.pages.render("package.html", cost, names, **view)

    def favourites(self, user: int, fields: Fields) -> str:
        """`/users/{user}/favorites`"""
        with measuring() as cost:
            window = inputs.window(fields, 20)
            slice_ = self.catalogue.favourites(user, window)
            view: dict[str, Any] = {
                "window": window,
                "slice": slice_,
                "pager": _pager(window, slice_.total),
            }
            names = [namespace("user:{user}/favorites", user=user)]
            return self.pages.render("favourites.html", cost, names, **view)

    def users(self) -> str:
        """`/users`"""
        with measuring() as cost:
            people = self.catalogue.users()
            return self.pages.render("users.html", cost, ["users"], people=people)

    def submit(self, form: Submission | None = None) -> str:
        """`/submit`, empty or as it was sent."""
        with measuring() as cost:
            categories = self.catalogue.categories()
            view = {"form": form or Submission(), "categories": categories}
            return self.pages.render("submit.html", cost, (), **view)


def _pager(window: Window, total: int) -> dict[str, Window | None]:
    """The neighbouring slices of the same size."""
    size = window.size
    before = Window(max(window.start - size, 0), max(window.start, size))
    after = Window(window.end, window.end + size)
    return {
        "previous": before if window.start > 0 else None,
        "next": after if window.end < total else None,
    }


def _charts(package: Package) -> list[str]:
    points = heat.curve(package.history)
    if not points:
        return []
    story = chart.Story(package.name, points, heat.gaps(package.history), heat.VOTE * package.votes)
    return [chart.draw(story, size) for size in (chart.WIDE, chart.NARROW)]
