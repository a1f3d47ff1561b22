"""The Flask extension: one application, many, factories, and its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from pagegen import ConfigError, PageCache, Rule
from pagegen.contrib.flask import FlaskPageCache

RULE = Rule(path="/stock/{item}", share="public", namespaces=["stock:{item}"], ttl="1h")
TABLE: dict[str, Any] = {
    "pagegen": {"cache_status": True},
    "rule": [
        {"path": "/stock/{item}", "share": "public", "namespaces": ["stock:{item}"], "ttl": "1h"}
    ],
}


def shop(pages: FlaskPageCache, **config: Any) -> Flask:
    """A factory, as Flask's manual has it; each application counts its own stock."""
    app = Flask("shop")
    app.config.update(config)
    stock = {"lamp": 3}

    @app.get("/stock/<item>")
    def show(item: str) -> str:
        return f"{stock[item]} left"

    @app.post("/stock/<item>")
    def sell(item: str) -> str:
        stock[item] -= 1
        pages.invalidate(f"stock:{item}")
        return "sold"

    pages.init_app(app)
    return app


def trace(app: Flask) -> str:
    return app.test_client().get("/stock/lamp").headers.get("Cache-Status", "")


def test_a_write_forgets_the_page_of_its_application_alone() -> None:
    pages = FlaskPageCache()
    first, second = shop(pages, PAGEGEN=TABLE), shop(pages, PAGEGEN=TABLE)
    for app in (first, second):
        assert "stored" in trace(app)
        assert "hit" in trace(app)
    assert first.test_client().post("/stock/lamp").text == "sold"
    assert "stock:lamp" in trace(first)
    assert first.test_client().get("/stock/lamp").text == "2 left"
    assert "hit" in trace(second)
    assert second.test_client().get("/stock/lamp").text == "3 left"


def test_the_table_may_be_a_file_beside_the_application(tmp_path: Path) -> None:
    (tmp_path / "pages.toml").write_text(
        '[pagegen]\nstore = "lmdb://pages"\ncache_status = true\n'
        '[[rule]]\npath = "/stock/{item}"\nshare = "public"\nttl = "1h"\n'
    )
    app = Flask("shop", root_path=str(tmp_path))
    app.config["PAGEGEN"] = "pages.toml"
    app.add_url_rule("/stock/<item>", view_func=lambda item: item)
    pages = FlaskPageCache(app)
    assert "stored" in trace(app)
    assert (tmp_path / "pages").is_dir()
    with app.app_context():
        pages.cache.close()


def test_a_cache_that_is_built_already_is_used() -> None:
    cache = PageCache([RULE], cache_status=True)
    app = shop(FlaskPageCache(cache=cache))
    assert "stored" in trace(app)
    assert cache.statistics()["forward"] == 1


def test_an_extension_is_given_its_application_at_once() -> None:
    app = Flask("shop")
    app.config["PAGEGEN"] = TABLE
    pages = FlaskPageCache(app)
    with app.app_context():
        assert pages.cache is app.extensions["pagegen"]
        assert pages.invalidate("stock:lamp").namespaces == ("stock:lamp",)


def test_where_it_is_switched_off_every_request_reaches_the_application() -> None:
    app = shop(FlaskPageCache(), PAGEGEN=TABLE, PAGEGEN_ENABLED=False)
    assert trace(app) == trace(app) == ""
    assert app.test_client().post("/stock/lamp").text == "sold"


def test_a_page_is_tagged_while_it_is_rendered() -> None:
    pages = FlaskPageCache(
        cache=PageCache([Rule(path="/", share="public", ttl=60, groups=True)], cache_status=True)
    )
    app = Flask("shop")

    @app.get("/")
    def front() -> str:
        pages.tag("stock:lamp")
        return "lamps"

    pages.init_app(app)
    client = app.test_client()
    assert "stored" in client.get("/").headers["Cache-Status"]
    assert "hit" in client.get("/").headers["Cache-Status"]
    with app.app_context():
        pages.invalidate("stock:lamp")
    assert "stock:lamp" in client.get("/").headers["Cache-Status"]


def test_a_second_cache_for_one_application_is_refused() -> None:
    pages = FlaskPageCache()
    app = shop(pages, PAGEGEN=TABLE)
    with pytest.raises(RuntimeError, match="init_app once"):
        pages.init_app(app)


def test_an_application_that_was_never_given_is_told_so() -> None:
    pages, app = FlaskPageCache(), Flask("bare")
    with app.app_context(), pytest.raises(RuntimeError, match=r"'bare' has no page cache"):
        pages.invalidate("stock:lamp")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "is not set"),
        ("", "neither a file nor a table"),
        (7, "neither a file nor a table"),
        ("missing.toml", "cannot be read"),
        ({"rules": []}, "rules"),
        ({"rule": [{"path": "/", "share": "nobody"}]}, "nobody"),
    ],
)
def test_a_wrong_configuration_stops_the_start(given: object, says: str) -> None:
    app = Flask("shop")
    if given is not None:
        app.config["PAGEGEN"] = given
    with pytest.raises(ConfigError, match=says):
        FlaskPageCache(app)
    assert "pagegen" not in app.extensions
