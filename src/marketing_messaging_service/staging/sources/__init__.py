"""Knows how each raw file is written: sources.yaml, and the mappings from a producer's words to ours."""
