"""Other event stores on PostgreSQL, measured on the same server: ``python -m bench --peers``."""
