"""HTTP: one module a resource, and the one table from errors to status codes."""
