"""Request fields that a cache in front of an application must not let through, or must mind.

1. *Steering* fields name another host, scheme, path, method or client than the request itself has.
   Frameworks believe them because a proxy is expected to write them; a client can write them too.
   Whoever sends ``X-Forwarded-Host: evil.example`` once would own the stored page. The names are
   those of published attacks: J. Kettle, "Practical Web Cache Poisoning" (2018) and "Web Cache
   Entanglement" (2020); H. V. Nguyen et al., "Your Cache Has Fallen" (2019, method overrides);
   CVE-2018-14773 (``X-Original-URL``, ``X-Rewrite-URL``), CVE-2016-5385 (``Proxy``) and
   CVE-2024-46982 (``x-now-route-matches``); and the client addresses that CDNs pass on.
2. *Hop-by-hop* fields are about one connection (RFC 9110 §7.6.1).
3. *Conditions and ranges* are answered by the cache itself from the whole page (RFC 9110 §13, §14).
4. *Personal* fields tell the application who is asking. They pass; what is made of them does not
   reach others.

Names are in lower case. ``_`` counts as ``-``: a WSGI environ does not tell them apart, and so
``X_Forwarded_Host`` passes many a filter.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from .messages import OF_CONNECTION

#: Names, and prefixes with a star, of fields that are taken out of a cacheable request.
STEERING: Final = frozenset(
    (
        # Host, scheme and port.
        "forwarded", "x-forwarded", "x-forwarded-*", "x-forward-*", "x-forwarder-*", "x-host",
        "x-http-host-override", "x-http-host", "x-host-override", "host-override",
        "x-backend-host", "x-real-host", "x-proxy-host", "proxy-host", "fastly-host",
        "x-scheme", "x-url-scheme", "front-end-https", "x-arr-ssl", "fastly-ssl", "cf-visitor",
        "cloudfront-forwarded-*",
        # Path.
        "x-original-*", "x-rewrite-*", "x-http-path-override", "x-http-destinationurl",
        "x-script-name", "x-proxy-url", "proxy-url", "base-url", "x-base-url", "http-url", "x-url",
        "request-uri", "x-request-uri", "x-path-info", "path-info", "script-name", "x-path",
        "x-uri", "x-base-path", "x-override-url",
        "x-envoy-original-*", "x-waws-unencoded-url", "x-matched-path", "x-now-route-matches",
        "x-invoke-*", "x-middleware-*", "x-accel-*", "x-sendfile-type",
        # Method.
        "x-http-method*", "x-method-override",
        # Client.
        "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "x-true-client-ip", "x-true-ip",
        "x-cluster-client-ip", "x-originating-ip", "x-remote-ip", "x-remote-addr", "x-proxyuser-ip",
        "x-custom-ip-authorization", "proxy-client-ip", "wl-proxy-client-ip", "cf-connecting-*",
        "cf-pseudo-ipv4", "fastly-client-ip", "fly-client-ip", "do-connecting-ip",
        "x-azure-clientip", "x-azure-socketip", "x-appengine-user-ip", "x-envoy-external-address",
        "x-nf-client-connection-ip", "x-vercel-forwarded-for", "ali-cdn-real-ip",
        # Ours (see debugging).
        "pagegen-debug",
        # The environment: CGI turns it into HTTP_PROXY.
        "proxy",
    )
)  # fmt: skip

#: Fields of a request that are about one connection, and the credentials for a proxy, which end at
#: the first one (RFC 9110 §7.6.1, §11.7.2; ``HTTP2-Settings``: RFC 7540 §3.2.1).
HOP_BY_HOP: Final = OF_CONNECTION | {"http2-settings", "proxy-authorization"}

#: Fields that the cache answers itself.
ANSWERED: Final = frozenset(
    (
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
        "range",
    )
)  # fmt: skip

#: Fields by which proxies that sign people in tell the application who it is. What a handler makes
#: of them is one visitor's page. (oauth2-proxy, Authelia and Authentik, Pomerium, Vouch, Kong,
#: Tailscale, AWS, Google, Azure and Cloudflare; certificates, RFC 9440; keys of APIs.)
PERSONAL: Final = frozenset(
    (
        "remote-user", "x-remote-user", "x-forwarded-user", "x-auth-request-user",
        "x-auth-request-email", "x-auth-request-access-token", "remote-email", "remote-groups",
        "x-authentik-username", "x-amzn-oidc-identity", "x-amzn-oidc-data",
        "x-goog-authenticated-user-email", "x-goog-authenticated-user-id",
        "x-goog-iap-jwt-assertion", "x-ms-client-principal", "x-ms-client-principal-id",
        "x-ms-token-aad-id-token", "cf-access-jwt-assertion",
        "cf-access-authenticated-user-email", "x-api-key", "x-auth-token", "x-access-token",
        "x-user-id", "x-webauth-user", "x-user", "x-username", "x-user-name", "x-email",
        "x-user-email", "x-auth-user", "x-auth-email", "x-remote-email", "x-remote-groups",
        "x-session-id", "x-session-token", "x-authorization", "x-jwt-assertion", "api-key",
        "private-token", "x-consumer-id", "x-consumer-username", "x-consumer-custom-id",
        "x-credential-identifier", "x-authenticated-userid", "x-pomerium-jwt-assertion",
        "x-pomerium-claim-email", "x-vouch-user", "x-vouch-idp-accesstoken", "x-authentik-email",
        "x-authentik-groups", "x-authentik-name", "x-authentik-uid", "x-authentik-jwt",
        "tailscale-user-login", "tailscale-user-name", "x-amz-security-token",
        "x-amzn-oidc-accesstoken", "x-ms-client-principal-name", "x-ms-token-aad-access-token",
        "client-cert", "client-cert-chain", "x-client-cert", "x-ssl-client-cert",
        "x-ssl-client-s-dn", "x-ssl-client-dn", "x-ssl-client-verify", "ssl-client-cert",
        "ssl-client-s-dn", "remote-name", "apikey", "dpop", "x-csrf-token", "x-csrftoken",
        "x-xsrf-token",
    )
)  # fmt: skip

_EXACT: Final = frozenset(name for name in STEERING if not name.endswith("*"))
_PREFIXES: Final = tuple(sorted(name[:-1] for name in STEERING if name.endswith("*")))


def steers(name: str) -> bool:
    """Whether a field names another host, scheme, path, method or client than its request has."""
    name = name.lower().replace("_", "-")
    return name in _EXACT or name.startswith(_PREFIXES)


def end_to_end(name: str, nominated: Collection[str] = ()) -> bool:
    """Whether a request field is meant for the application and not for one connection.

    ``nominated``: the names in the request's ``Connection`` field, in lower case.
    """
    name = name.lower()
    return name.replace("_", "-") not in HOP_BY_HOP and name not in nominated


def answered(name: str) -> bool:
    """Whether the cache answers a field from the whole page, so that no handler sees it."""
    return name.lower().replace("_", "-") in ANSWERED
