"""One run of the pipeline: its steps, where files are staged, and how it stops and ends."""
