"""Benchmarks: each runs as `python -m bench.NAME`, prints a table and ends with one JSON line."""
