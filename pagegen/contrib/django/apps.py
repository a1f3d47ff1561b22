"""The app for ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class PagegenConfig(AppConfig):
    """Connects declared models, the guard against unseen writes, and the system checks."""

    name = "pagegen.contrib.django"
    label = "pagegen"
    verbose_name = "pagegen"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django once all models are there."""
        # These look at models, which are not there yet when this module is imported.
        from . import checks, guard, rows  # noqa: PLC0415

        checks.install()
        rows.install()
        guard.install()
