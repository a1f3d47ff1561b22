"""``manage.py pagegen``."""
