"""What was once of interest to a fuzzer is tried with every run of the tests, by each target."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import pytest

from pagegen import (
    config,
    debugging,
    fields,
    identities,
    keys,
    logs,
    namespaces,
    negotiation,
    patterns,
    planning,
    queries,
    readers,
)
from pagegen import views as seen_views
from pagegen.contrib import declared
from pagegen.contrib.outbox import rows
from pagegen.contrib.sqlalchemy import guard as sqlalchemy_guard
from pagegen.law import codings, said, softness, storing, unsafe, validation, vary, wishes
from pagegen.law import ranges as law_ranges
from pagegen.stores import codec
from pagegen.stores.lmdb import place as lmdb_place
from pagegen.stores.memcached import parts, wire
from pagegen.wsgi import middleware as wsgi_middleware
from tests.security.fuzz import of_fields, of_keys, of_laws, of_plans, of_stores
from tests.security.fuzz.targets import CORPUS, Broken, Target, all_targets

TARGETS: Final = all_targets()
EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
#: Files of one target, and bytes of them together: the corpus stays one that people can look at.
MOST_FILES, MOST_BYTES = 24, 4096


def replay(target: Target) -> None:
    for file in sorted(target.corpus.iterdir()):
        target(file.read_bytes())


@EACH
def test_nothing_of_the_corpus_breaks_a_promise(target: Target) -> None:
    replay(target)


@EACH
def test_the_corpus_is_small_and_named_by_its_contents(target: Target) -> None:
    files = sorted(target.corpus.iterdir())
    assert 0 < len(files) <= MOST_FILES
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    for file in files:
        assert file.name == sha256(file.read_bytes()).hexdigest()[:12]


def test_there_is_no_corpus_of_a_target_that_is_gone() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


# --- Each target finds what it is there for: with one thing broken, the corpus is red.


def _blind(found: Any) -> Callable[..., Any]:
    return lambda *_, **__: found


def _without_check(self: Any, stored: Any, place: bytes = b"") -> Any:
    try:
        return codec._page(memoryview(stored)[len(codec.MAGIC) + 2 + 4 :])
    except Exception:
        return None


def _last(self: Any, path: str) -> int | None:
    return next(reversed(self.all(path)), None)


def _by_path_alone(self: Any, request: Any, rule: Any, *_: Any) -> bytes:
    return self._rule_heads[rule.name] + keys.encode(request.path)


class _Loose(wire.Get):
    def _announced(self, key: bytes, flags: bytes, length: bytes, number: bytes = b"0") -> int:
        self._key = key
        return int(length)


_encode, _view = keys.encode, wsgi_middleware.view_environ


def _without_type(value: Any) -> bytes:
    return _encode(str(value) if isinstance(value, int) else value)


def _whole_jar(plan: Any, request: Any, shown: Any) -> list[str]:
    return [request.fields.get("cookie") or ""]


def _all_of_it(environ: Any, view: Any) -> Any:
    return {**environ, **_view(environ, view)}


#: Target, module or class, the name in it, and what it is replaced by.
BROKEN: Final[tuple[tuple[str, Any, str, Any], ...]] = (
    ("directives", fields, "_CLOSING", fields._FIRST),
    ("structured", fields, "_structured", _blind(None)),
    ("dates", fields, "_offset", _blind(60)),
    ("entity-tags", fields, "content_length", _blind(7)),
    ("ranges", law_ranges, "_joined", tuple),
    ("hosts", fields, "_HOST", fields.re.compile(r"([^:]*)(?::([0-9]{1,5}))?")),
    ("cookies", of_fields, "others", lambda jar: jar),
    ("wrote-cookie", of_fields.Wrote, "_is_good", _blind(True)),
    ("request-wishes", wishes, "_seconds", _blind(None)),
    ("storing", storing, "_by_directive", _blind(None)),
    ("variants", vary, "normalised", lambda name, value: value),
    ("conditions", validation, "_is_known", _blind(True)),
    ("accepted-codings", codings, "preferred", _blind("gzip")),
    ("debug-value", debugging, "compare_digest", _blind(True)),
    ("cache-status", of_laws.status, "_detail", lambda text: f'"{text}"'),
    ("soft-tokens", softness, "isfinite", _blind(True)),
    ("query-strings", queries, "quote", lambda text, safe: text),
    ("paths", planning, "_decodes", _blind(True)),
    ("patterns", patterns.PathIndex, "first", _last),
    ("names", namespaces, "quote", lambda text, **_: text),
    ("key-encoding", keys, "encode", _without_type),
    ("measures", of_keys.units, "parse_duration", _blind(-1.0)),
    ("sources", identities, "names_the_request", _blind(False)),
    ("forgetting", unsafe, "is_name", _blind(True)),
    ("url-names", of_keys, "url_namespace", lambda host, path: f"url:{host}"),
    ("plans", planning, "_spelling", _blind(None)),
    ("plans", planning.Planner, "_key_head", _by_path_alone),
    ("poison-wsgi", wsgi_middleware, "view_environ", _all_of_it),
    ("poison-asgi", planning.Planner, "_key_head", _by_path_alone),
    ("codec-hostile", codec, "isfinite", _blind(True)),
    ("codec-round", codec.Codec, "decode", _without_check),
    ("memcached-replies", wire, "Get", _Loose),
    ("manifests", parts.Manifest, "join", lambda self, found, prefix: b"".join(found.values())),
    ("redis-replies", of_stores.packets, "values", lambda reply, count: reply),
    ("sql", sqlalchemy_guard, "_WRITES", sqlalchemy_guard._DELETES),
    ("outbox-rows", rows, "is_name", _blind(True)),
    ("answers", storing, "end_to_end", lambda fields: fields),
    ("log-lines", logs, "_escape", lambda character: character),
    ("views", seen_views, "_cookies", _whole_jar),
    ("allowed-hosts", readers.Hosts, "allow", _blind(True)),
    ("declarations", declared, "parse", namespaces.Template.render),
    ("configuration", config, "RuleBook", None),
    ("rule-tables", config, "check_keys", _blind(None)),
    ("lmdb-about", lmdb_place, "_GENERATION", re.compile(".*")),
    ("lmdb-records", codec.Codec, "decode", lambda *_: of_stores.page_of(b"")),
    ("mounts", lmdb_place, "_unescape", _blind("/nowhere")),
)


@pytest.mark.parametrize(
    ("name", "place", "attribute", "broken"),
    BROKEN,
    ids=[f"{name}:{attribute}" for name, _, attribute, _ in BROKEN],
)
def test_a_broken_part_is_found_by_the_corpus(
    name: str, place: Any, attribute: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS[name]
    _forget()
    monkeypatch.setattr(place, attribute, broken)
    with pytest.raises((Broken, TypeError, UnicodeEncodeError)):
        replay(target)
    monkeypatch.undo()
    _forget()


def test_each_target_has_such_a_part() -> None:
    assert {name for name, *_ in BROKEN} == set(TARGETS)


def _forget() -> None:
    """What was read before is remembered in some places."""
    for remembered in (
        wishes._read,
        said._read,
        sqlalchemy_guard.written,
        sqlalchemy_guard.deleted,
        vary._negotiating,
        negotiation.preferred,
    ):
        remembered.cache_clear()
    of_plans._PLANNER = of_plans._planner()
