"""The forum for ASGI servers."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.contrib.django.forum.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

from pagegen.asgi import PageCacheMiddleware
from pagegen.contrib.django import get_cache

from . import signing

application = get_asgi_application()
if settings.PLACEMENT == "around":
    application = PageCacheMiddleware(application, cache=get_cache())
application = signing.asgi(application)
