"""Measures the service against bare PostgreSQL on the same machine: docs/benchmarks/README.md."""
