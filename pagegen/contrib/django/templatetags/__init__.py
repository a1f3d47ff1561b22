"""Tags for templates: ``{% load pagegen %}``."""
