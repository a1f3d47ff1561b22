"""Under mode http, what an application makes of a field that names its visitor is nobody else's."""

from __future__ import annotations

import pytest

from pagegen import Rule
from pagegen.steering import PERSONAL
from pagegen.testing import Reply, Seen
from tests.conftest import MakeScenario

#: What proxies that sign people in, gateways and servers that ask for certificates send.
NAMED = (
    "x-forwarded-email", "x-username", "x-email", "x-auth-user", "x-session-id",
    "x-consumer-username", "x-authenticated-userid", "x-pomerium-jwt-assertion", "x-vouch-user",
    "tailscale-user-login", "private-token", "x-authorization", "x-jwt-assertion", "client-cert",
    "x-ssl-client-s-dn", "x-amz-security-token", "x-amzn-oidc-accesstoken",
    "x-ms-client-principal-name", "x-remote-groups",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(PERSONAL | set(NAMED)))
def test_a_page_for_whom_a_proxy_names_reaches_nobody_else(
    scenario: MakeScenario, name: str
) -> None:
    stage = scenario(Rule(path="/**", share="public"))

    def greeting(seen: Seen) -> Reply:
        return Reply(
            f"for {seen.fields.get(name)}".encode(), fields=[("Cache-Control", "max-age=60")]
        )

    stage.handler = greeting
    stage.get("/page", {name: "ada"})
    assert stage.get("/page", {name: "bob"}).text in ("for bob", "for None")
    assert stage.get("/page").text == "for None"
