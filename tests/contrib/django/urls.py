"""No views: each test says which URLconf it wants."""

from __future__ import annotations

from typing import Any

urlpatterns: list[Any] = []
