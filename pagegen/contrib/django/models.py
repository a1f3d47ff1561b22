"""The table of the outbox, so that Django's migrations make it. Rows are written and read in SQL,
by :mod:`pagegen.contrib.outbox`, where each column is explained.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class OutboxRow(models.Model):
    """Names that a transaction changed, waiting to be forgotten."""

    id = models.CharField(max_length=32, primary_key=True)
    site = models.TextField()
    names = models.TextField()
    created = models.FloatField()
    problem = models.TextField(null=True)

    class Meta:
        """One name for it in all frameworks."""

        db_table = "pagegen_outbox"
        default_permissions: ClassVar = ()
        verbose_name = "row of the outbox"
        verbose_name_plural = "rows of the outbox"

    def __str__(self) -> str:
        return f"{self.site}: {self.names}"
