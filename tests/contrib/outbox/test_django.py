"""The outbox in Django, in a program of its own: a process configures Django once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contrib.outbox.databases import make
from tests.databases import Postgresql

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import json, sys, threading
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": json.loads(sys.argv[1])},
    INSTALLED_APPS=["pagegen.contrib.django"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from tests.contrib.outbox.conftest import Cache
from pagegen.contrib.outbox import Sweeper

call_command("migrate", verbosity=0)
cache = Cache()

def rows():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pagegen_outbox")
        return cursor.fetchone()[0]
"""
PARTS = {
    "migrations are complete": """
call_command("makemigrations", "--check", "--dry-run", verbosity=0)
call_command("migrate", "pagegen", "zero", verbosity=0)
assert "pagegen_outbox" not in connection.introspection.table_names()
""",
    "applied after the outermost commit": """
with transaction.atomic():
    with transaction.atomic():
        assert cache.outbox("default").invalidate("item:1").deferred
    try:
        with transaction.atomic():
            cache.outbox(connection).invalidate("item:2", soft=True)
            1 / 0
    except ZeroDivisionError:
        pass
    assert (cache.told, rows()) == ([], 1)
assert (cache.told, rows()) == ([(("item:1",), False)], 0)
""",
    "its block is atomic": """
try:
    with cache.outbox("default") as outbox:
        outbox.invalidate("item:1")
        1 / 0
except ZeroDivisionError:
    pass
assert (cache.told, rows()) == ([], 0)
with cache.outbox("default") as outbox:
    outbox.invalidate("item:1")
assert (cache.told, rows()) == ([(("item:1",), False)], 0)
""",
    "refused outside of atomic": """
try:
    cache.outbox("default").invalidate("item:1")
except RuntimeError as error:
    assert "transaction.atomic()" in str(error)
else:
    raise AssertionError("was not refused")
assert rows() == 0
""",
    "a failing store leaves the row, and a sweeper takes it": """
import pytest
from tests.contrib.outbox.conftest import break_store
with pytest.MonkeyPatch.context() as patch:
    break_store(cache, patch)
    with transaction.atomic():
        cache.outbox("default").invalidate("item:1")
    assert rows() == 1
sweeper = Sweeper(cache, "default", grace=0)
assert sweeper.sweep().applied == 1
assert rows() == 0
sweeper.stop()
""",
}
END = """
cache.close()
connection.close()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("part", PARTS)
def test_in_django(part: str, kind: str, tmp_path: Path, postgresql: Postgresql) -> None:
    place = make(kind, tmp_path, postgresql, items=1, via="django")
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            BEGIN + PARTS[part] + END,
            json.dumps(place.settings),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
