"""The demo under the request mix of a live site, without pagegen and with it.

``python -m benchmarks.replay``: how many requests a second, how late, what they cost the database,
and whether any page was old.
"""
