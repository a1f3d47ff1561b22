"""A catalogue of reusable web packages: the demonstration of pagegen."""
