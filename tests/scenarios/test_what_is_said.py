"""What logs and Cache-Status say of soft rules, late namespaces and hold-offs."""

from __future__ import annotations

import pytest

from pagegen import ConfigError, Invalidates, PageCache, Rule
from pagegen.testing import Reply
from tests.conftest import MakeScenario

LATE = Rule(path="/late", share="public", groups=True, ttl=60, own_url=False, replica_lag="2s")


def test_a_page_that_is_held_off_says_so_though_it_has_no_namespace_yet(
    scenario: MakeScenario,
) -> None:
    stage = scenario(LATE)
    stage.handler = lambda seen: Reply(b"page", fields=[("Cache-Groups", '"item:1"')])
    assert stage.get("/late").get("cache-status") == "pagegen; fwd=uri-miss; detail=replica-lag"


def test_a_name_that_pages_may_give_while_they_render_is_no_slip(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    scenario(LATE).cache.invalidate("item:1")
    assert "slip" not in caplog.text


@pytest.mark.parametrize(("soft", "said"), [(False, True), (True, False)])
def test_a_write_that_is_soft_where_no_rule_is_is_said_at_the_start(
    soft: bool, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rule = Rule(path="/a", share="public", namespaces=["a"], ttl=60, swr=30, soft=soft)
    write = Invalidates(path="/a", namespaces=["a"], soft=True)
    PageCache([rule], invalidates=[write], site_key="a secret of the tests")
    assert ("no rule does: it forgets at once" in caplog.text) is said


@pytest.mark.parametrize(
    ("lacking", "cause"),
    [({"swr": None}, "needs swr"), ({"swr": 0}, "needs swr"), ({"namespaces": []}, "URLs")],
)
def test_a_soft_rule_says_what_it_needs(lacking: dict[str, object], cause: str) -> None:
    whole: dict[str, object] = {"swr": 30, "namespaces": ["a"]}
    with pytest.raises(ConfigError, match=cause) as caught:
        Rule(path="/a", share="public", soft=True, **(whole | lacking))  # type: ignore[arg-type]
    assert caught.value.field == "soft"
