"""The forum's settings. What differs from one deployment to another comes from the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import django

BASE_DIR: Final = Path(__file__).resolve().parent
#: "inside": the cache is one of Django's middlewares. "around": wsgi.py and asgi.py wrap Django.
PLACEMENT: Final = os.environ.get("FORUM_PLACEMENT", "inside")
#: "early" or "undeclared": see mistakes.py.
MISTAKE: Final = os.environ.get("FORUM_MISTAKE", "")

SECRET_KEY = "a secret of the forum"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.contrib.django.forum.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "pagegen.contrib.django",
    "tests.contrib.django.forum",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
STACK: Final = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
OURS: Final = "pagegen.contrib.django.middleware.PageCacheMiddleware"
MIDDLEWARE = [*STACK, OURS] if PLACEMENT == "inside" else STACK


def _database() -> dict[str, Any]:
    given: dict[str, Any] = json.loads(os.environ.get("FORUM_DATABASE", '{"NAME": "forum.sqlite"}'))
    if "ENGINE" not in given:
        given["ENGINE"] = "django.db.backends.sqlite3"
        given["OPTIONS"] = {"timeout": 20}
        if django.VERSION >= (5, 1):
            given["OPTIONS"] |= {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            }
    return {**given, "ATOMIC_REQUESTS": bool(os.environ.get("FORUM_ATOMIC"))}


def page_cache(placement: str, store: str, *, outbox: bool = False) -> dict[str, Any]:
    """``PAGEGEN``. Who is asking is known inside Django; around it, which session it is."""
    visitor: dict[str, Any] = {"from": ["call:pagegen.contrib.django.identity:user"]}
    if placement == "around":
        visitor = {"from": ["cookie:sessionid"], "anonymous": "bypass"}
    return {
        "pagegen": {"store": store, "site": "forum", "cache_status": True},
        "identity": {"visitor": visitor},
        "django": {"outbox": outbox, "unseen_writes": "raise"},
    }


DATABASES = {"default": _database()}
PAGEGEN = page_cache(
    PLACEMENT,
    os.environ.get("FORUM_STORE", "memory://"),
    outbox=bool(os.environ.get("FORUM_OUTBOX")),
)
