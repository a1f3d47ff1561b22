"""Migrations of the app ``pagegen``."""
