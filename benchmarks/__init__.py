"""Direct-call benchmark of pagegen: ``python -m benchmarks``. No server, no network."""
