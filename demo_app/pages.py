"""View values become HTML, for both applications. A page ends with a strip: what it cost."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo_app import chart
from demo_app.cost import Cost
from demo_app.problems import Problem

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every HTML page: nothing is fetched from anywhere else."""

_NOTHING: Final = "\N{EN DASH}"
# What a page cost is known when it is whole, and the place for it is inside: written last.
_MILLISECONDS: Final = "\x02ms\x03"
_QUERIES: Final = "\x02queries\x03"


class Pages:
    """The templates. Safe to share between threads."""

    def __init__(self) -> None:
        self._jinja = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals.update(
            static=_static_urls(), milliseconds=_MILLISECONDS, queries=_QUERIES, spark=chart.spark
        )
        self._jinja.filters.update(number=_number, brief=_brief, day=_day)

    def render(self, template: str, cost: Cost, namespaces: Sequence[str], **view: Any) -> str:
        """The page, with the bill so far. `namespaces` are what pagegen will know it by."""
        now = datetime.now(UTC)
        html = self._jinja.get_template(template).render(namespaces=namespaces, now=now, **view)
        asked = "1 query" if cost.queries == 1 else f"{cost.queries} queries"
        return html.replace(_MILLISECONDS, f"{cost.milliseconds:.1f}").replace(_QUERIES, asked)

    def problem(self, problem: Problem) -> str:
        """The page that says what is wrong with a request."""
        return self.render("problem.html", Cost(), (), problem=problem)


def _static_urls() -> dict[str, str]:
    """Addresses that change with the file, so that no browser keeps an old style sheet."""
    return {
        path.name: f"/static/{path.name}?v={sha256(path.read_bytes()).hexdigest()[:10]}"
        for path in STATIC.iterdir()
    }


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.0f}"


def _brief(value: float | None) -> str:
    """1234567 -> 1.2M, for places without room."""
    if value is None:
        return _NOTHING
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def _day(value: str | None) -> str:
    if not value:
        return _NOTHING
    moment = datetime.fromisoformat(value)
    return f"{moment.day} {moment:%B %Y}"
