"""Measures the pipeline against the fastest possible, and against what people use: `make bench`."""
