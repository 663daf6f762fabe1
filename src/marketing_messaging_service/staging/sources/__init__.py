"""Which raw file is written how: sources.yaml, and the mappings that bring a producer's words into ours."""
