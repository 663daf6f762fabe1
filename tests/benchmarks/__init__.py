"""Speed and memory of the pipeline beside the usual ways, as ratios: `make benchmark`."""
