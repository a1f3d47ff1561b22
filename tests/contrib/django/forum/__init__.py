"""A forum made with Django and pagegen as anybody would: tests run it under real servers."""
