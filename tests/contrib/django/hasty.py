"""A URLconf that asks for the cache before its rules are known."""

from __future__ import annotations

from typing import Any

from pagegen.contrib.django import get_cache

get_cache()
urlpatterns: list[Any] = []
