"""``manage.py pagegen``: what the cache of this project is told and holds, and how to forget it.

Exit codes: 0 done; 1 found mistakes, or the store did not do it; 2 the command was not understood.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser

from .....errors import ConfigError, NamespaceError, StoreError
from .....rules import Rule
from ... import conf, views
from ...caches import DjangoPageCache, get_cache

FAILED: Final = 1
NOT_UNDERSTOOD: Final = 2
_NOWHERE: Final = (
    "The store is memory://, which belongs to one process: this command cannot reach the pages of "
    'your server. Give PAGEGEN a store that processes share, such as "lmdb://.pagegen"'
)


class Command(BaseCommand):
    """``check``, ``invalidate``, ``inspect``, ``rules`` and ``sweep``."""

    help = "Check the page cache, forget pages, and see what it would do."
    # Each verb says itself what is wrong, and invalidating should work on a project that is ill.
    requires_system_checks: Sequence[str] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the verbs and their options."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        verbs.add_parser("check", help="say what is wrong with settings, models and views")
        forget = verbs.add_parser("invalidate", help="forget all pages of namespaces")
        forget.add_argument("names", nargs="+", metavar="NAME", help="such as item:7")
        forget.add_argument("--soft", action="store_true", help="where rules allow it")
        look = verbs.add_parser("inspect", help="say what the cache holds for a GET")
        look.add_argument("path", metavar="PATH", help="/items/7?page=2, or a whole URL")
        look.add_argument("--host", help="the first of ALLOWED_HOSTS that is a name")
        look.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
        verbs.add_parser("rules", help="list all rules in the order they are asked")
        sweep = verbs.add_parser("sweep", help="apply what the outbox still holds")
        sweep.add_argument("--database", default="default", metavar="ALIAS")
        sweep.add_argument("--once", action="store_true", help="end after one round")
        sweep.add_argument("--grace", type=float, default=5.0, metavar="SECONDS", help="row's age")
        for verb in verbs.choices.values():
            verb.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Run one verb; raises ``CommandError``."""
        try:
            getattr(self, f"_{verb}")(**options)
        except ConfigError as error:
            raise CommandError(str(error), returncode=FAILED) from None
        except NamespaceError as error:
            raise CommandError(str(error), returncode=NOT_UNDERSTOOD) from None
        except StoreError as error:
            raise CommandError(f"The store failed: {error}", returncode=FAILED) from None

    def _check(self, **options: Any) -> None:
        found = [m for m in checks.run_checks(tags=["pagegen"]) if not m.is_silenced()]
        bad = any(message.level >= checks.ERROR for message in found)
        if options["json"]:
            self._print_json({"ok": not bad, "messages": [_message(m) for m in found]})
        else:
            for message in found:
                style = self.style.ERROR if message.level >= checks.ERROR else self.style.WARNING
                self.stdout.write(str(message), style)
            if not found:
                self.stdout.write("Nothing is wrong.", self.style.SUCCESS)
        if bad:
            raise CommandError("The page cache cannot be built.", returncode=FAILED)

    def _invalidate(self, names: list[str], soft: bool, **options: Any) -> None:
        cache = get_cache()
        if _is_alone(cache):
            raise CommandError(_NOWHERE, returncode=FAILED)
        try:
            done = cache.invalidate(*names, soft=soft)
        except StoreError as error:
            raise CommandError(
                f"{error}. Nothing tries again when this command has ended: run it once more",
                returncode=FAILED,
            ) from None
        strange = [name for name in done.namespaces if not cache.configuration.book.has(name)]
        if options["json"]:
            self._print_json({**asdict(done), "unknown": strange})
            return
        when = " when the transaction commits" if done.deferred else ""
        how = " softly" if done.soft else ""
        self.stdout.write(f"Forgotten{how}{when}: {', '.join(done.namespaces)}", self.style.SUCCESS)
        for name in strange:
            self.stderr.write(f"No rule has pages of {name!r}.", self.style.WARNING)

    def _inspect(self, path: str, host: str | None, header: list[str], **options: Any) -> None:
        cache, url = get_cache(), urlsplit(path)
        if not url.path.startswith("/"):
            raise CommandError(f"{path!r} does not begin with a slash", returncode=NOT_UNDERSTOOD)
        host = host or url.netloc or _host()
        found = cache.inspect(
            unquote(url.path),
            url.query,
            host=host,
            scheme=url.scheme or "http",
            root=(settings.FORCE_SCRIPT_NAME or "").rstrip("/"),
            raw_path=url.path,
            headers=dict(map(_header, header)),
        )
        seen = asdict(found)
        if options["json"]:
            self._print_json({"host": host, **seen})
            return
        if _is_alone(cache):
            self.stderr.write(_NOWHERE, self.style.WARNING)
        said = {"host": host, **{key: _cell(value) for key, value in seen.items()}}
        self._print_table((), [(key, value) for key, value in said.items() if value])

    def _rules(self, **options: Any) -> None:
        cache = get_cache()
        origins = views.origins(conf.written().book.rules)
        book = cache.configuration.book
        if options["json"]:
            rules = [_rule(rule, origins.get(rule.name, "settings")) for rule in book.rules]
            writes = [
                {"path": w.path, "methods": w.methods, "namespaces": w.namespaces}
                for w in book.invalidates
            ]
            self._print_json({"rules": rules, "invalidates": writes})
            return
        head = ("PATH", "METHODS", "SHARE", "TTL", "NAMESPACES", "DECLARED AT")
        rows = [_row(rule, origins.get(rule.name, "settings")) for rule in book.rules]
        self._print_table(head, rows)
        if book.invalidates:
            self.stdout.write("")
            writes_head = ("WRITES TO", "METHODS", "FORGET")
            self._print_table(
                writes_head,
                [(w.path, _cell(w.methods), _cell(w.namespaces)) for w in book.invalidates],
            )

    def _sweep(self, database: str, once: bool, grace: float, **options: Any) -> None:
        from ....outbox import Sweeper, supervise  # noqa: PLC0415 - in this process alone

        cache = get_cache()
        if _is_alone(cache):
            raise CommandError(_NOWHERE, returncode=FAILED)
        sweeper = Sweeper(cache, database, grace=grace)
        code = supervise(sweeper, once=once, json=options["json"])
        if code:
            raise CommandError("The outbox was not emptied.", returncode=code)

    def _print_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, indent=2, default=dict))

    def _print_table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as they must be; the last one as long as it is."""
        rows = [tuple(row) for row in rows]
        lines = [tuple(head), *rows] if head else rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for number, row in enumerate(lines):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            style = self.style.MIGRATE_HEADING if head and not number else None
            self.stdout.write(line.rstrip(), style)


def _is_alone(cache: DjangoPageCache) -> bool:
    return cache.configuration.settings.store.startswith("memory:")


def _host() -> str:
    names = (host.removeprefix(".") for host in settings.ALLOWED_HOSTS)
    return next((name for name in names if name and "*" not in name), "localhost")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise CommandError(f"{text!r} is no NAME:VALUE", returncode=NOT_UNDERSTOOD)
    return name.strip(), value.strip()


def _message(message: Any) -> dict[str, str | None]:
    level = "error" if message.level >= checks.ERROR else "warning"
    obj = None if message.obj is None else str(message.obj)
    return {"id": message.id, "level": level, "message": message.msg, "hint": message.hint,
            "object": obj}  # fmt: skip


def _rule(rule: Rule, origin: str) -> dict[str, Any]:
    return {
        "name": rule.name,
        "path": rule.path,
        "methods": rule.methods,
        "cache": rule.cache,
        "share": rule.share,
        "ttl": rule.ttl,
        "namespaces": rule.namespaces,
        "declared_at": origin,
    }


def _row(rule: Rule, origin: str) -> tuple[str, ...]:
    share = _cell(rule.share) if rule.cache else "not cached"
    return (rule.path, _cell(rule.methods), share, _cell(rule.ttl), _cell(rule.namespaces), origin)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:.3f} s" if isinstance(value, float) else str(value)
