"""x."""

FORMATS = ("ndjson", "csv", "parquet")
