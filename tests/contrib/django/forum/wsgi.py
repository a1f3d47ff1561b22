"""The forum for WSGI servers."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.contrib.django.forum.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from pagegen.contrib.django import get_cache
from pagegen.wsgi import PageCacheMiddleware

from . import signing

application = get_wsgi_application()
if settings.PLACEMENT == "around":
    application = PageCacheMiddleware(application, cache=get_cache())
application = signing.wsgi(application)
