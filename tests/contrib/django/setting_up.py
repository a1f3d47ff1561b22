"""Django's settings for all tests here: a process configures Django once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import django
from django.conf import settings

DIRECTORY: Final = Path(tempfile.mkdtemp(prefix="pagegen-django-"))
#: Ours last but for the messages: what stands outside runs on hits, too.
MIDDLEWARE: Final = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "pagegen.contrib.django.middleware.PageCacheMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


def _database(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DIRECTORY / f"{name}.sqlite"),
        "OPTIONS": {"timeout": 20},
    }


def configure() -> None:
    """Configure this process; a second call does nothing."""
    if settings.configured:
        return
    atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
    settings.configure(
        BASE_DIR=DIRECTORY,
        SECRET_KEY="a secret of the tests",
        ALLOWED_HOSTS=["testserver", "localhost"],
        ROOT_URLCONF="tests.contrib.django.urls",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "pagegen.contrib.django",
            "tests.contrib.django.shop",
        ],
        DATABASES={"default": _database("default"), "other": _database("other")},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        MIDDLEWARE=MIDDLEWARE,
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        USE_TZ=True,
        LANGUAGES=[("en", "English"), ("de", "Deutsch")],
        LANGUAGE_CODE="en",
        PAGEGEN={},
    )
    django.setup()
    _make_tables()


def _make_tables() -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", run_syncdb=True, verbosity=0)
    connection.close()
    shutil.copy(DIRECTORY / "default.sqlite", DIRECTORY / "other.sqlite")
