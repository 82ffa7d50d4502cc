"""Files that a month of the archive is exported to: Parquet or NDJSON, each with a checksum."""
