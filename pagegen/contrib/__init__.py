"""pagegen at home in frameworks and libraries. Each module imports its own, and nobody else's."""
