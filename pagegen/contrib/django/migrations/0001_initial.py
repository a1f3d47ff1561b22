"""The table of the outbox."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes ``pagegen_outbox``."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("site", models.TextField()),
                ("names", models.TextField()),
                ("created", models.FloatField()),
                ("problem", models.TextField(null=True)),
            ],
            options={
                "db_table": "pagegen_outbox",
                "default_permissions": (),
                "verbose_name": "row of the outbox",
                "verbose_name_plural": "rows of the outbox",
            },
        ),
    ]
