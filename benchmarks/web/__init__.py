"""The benchmark under real web servers: ``python -m benchmarks.web``. Loopback only."""
