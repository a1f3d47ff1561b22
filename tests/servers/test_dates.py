"""How often ``Date`` leaves real servers: once with every page, whoever adds it.

gunicorn puts a Date of its own in the place of the application's. uvicorn adds one beside it,
unless it is started with ``--no-date-header``. Where the server has one, pagegen leaves out that of
a page. What it does not store passes with the application's own, so that uvicorn sends two of an
application that dates its responses, as it does without pagegen.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import count
from time import time
from typing import Final

import pytest

from pagegen.fields import http_date
from pagegen.testing import Answer
from tests.servers.site import PAST
from tests.servers.sites import Site, ask, serving

_NUMBERS: Final = count(1)


@pytest.fixture(scope="module", params=["uvicorn", "uvicorn without Date", "gunicorn"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with serving(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def client(site: Site) -> Iterator[HTTPConnection]:
    connection = site.connect()
    yield connection
    connection.close()


def dates(answer: Answer) -> list[str]:
    return [value for name, value in answer.fields if name.lower() == "date"]


def is_old(answer: Answer) -> bool:
    """Whether an answer has the date that the application gave it."""
    moments = [http_date(value) for value in dates(answer)]
    return any(time() - moment > PAST / 2 for moment in moments if moment is not None)


@pytest.mark.parametrize("shape", ["once", "once-sized", "pieces", "pieces-sized", "nothing"])
@pytest.mark.parametrize("dated", [False, True])
def test_a_page_has_one_date_when_it_is_rendered_and_one_on_every_hit(
    client: HTTPConnection, site: Site, shape: str, *, dated: bool
) -> None:
    path = f"/{shape}/{next(_NUMBERS)}{'/dated' if dated else ''}"
    first, hit = ask(client, "GET", path), ask(client, "GET", path)
    answers = [first, hit, ask(client, "HEAD", path)]
    answers.append(ask(client, "GET", path, {"if-none-match": hit.get("etag") or ""}))
    if shape != "nothing":
        answers.append(ask(client, "GET", path, {"range": "bytes=0-1"}))
        answers.append(ask(client, "GET", path, {"range": "bytes=999-"}))
    assert [answer.status for answer in answers] == [200, 200, 200, 304, 206, 416][: len(answers)]
    assert [len(dates(answer)) for answer in answers] == [1] * len(answers)
    keeps = dated and site.name == "uvicorn without Date"
    assert [is_old(answer) for answer in answers] == [keeps] * len(answers)


@pytest.mark.parametrize("shape", ["once", "pieces-sized"])
@pytest.mark.parametrize("dated", [False, True])
def test_date_and_age_tell_the_age_of_a_hit_together(
    client: HTTPConnection, shape: str, *, dated: bool
) -> None:
    """As a cache in front computes it (RFC 9111 §4.2.3): the greater of the two."""
    path = f"/{shape}/{next(_NUMBERS)}{'/dated' if dated else ''}"
    ask(client, "GET", path)
    hit = ask(client, "GET", path)
    (said,) = dates(hit)
    age = max(time() - (http_date(said) or 0), float(hit.get("age") or 0))
    expect = PAST if dated else 0
    assert expect <= age <= expect + 60


@pytest.mark.parametrize("path", ["/bypass/{}", "/once/private/{}", "/pieces/private/{}"])
@pytest.mark.parametrize("dated", [False, True])
def test_what_is_not_stored_has_the_dates_of_application_and_server(
    client: HTTPConnection, site: Site, path: str, *, dated: bool
) -> None:
    answer = ask(client, "GET", path.format(next(_NUMBERS)) + ("/dated" if dated else ""))
    assert not answer.trace.endswith("stored")
    expect = {"uvicorn": 1 + dated, "gunicorn": 1}.get(site.name, 1)
    if site.name == "uvicorn without Date" and path.startswith("/bypass") and not dated:
        expect = 0  # untouched: neither of them has said a date
    assert len(dates(answer)) == expect
    assert is_old(answer) is (dated and site.name != "gunicorn")
