"""Measurements, not tests: `make bench` prints them; docs/performance.md keeps the figures."""
