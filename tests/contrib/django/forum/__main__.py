"""``python -m tests.contrib.django.forum migrate``: what ``manage.py`` is elsewhere."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.contrib.django.forum.settings")
    execute_from_command_line(sys.argv)
