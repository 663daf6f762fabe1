"""The file as others take it away: a consistent copy, and Parquet of every table and view."""
