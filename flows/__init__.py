"""The Prefect edge: one file a flow, thin, with no data logic of its own."""

import gc
import os

# Read by Prefect at import. Nothing about a run is told to anybody unless the operator says otherwise.
os.environ.setdefault("DO_NOT_TRACK", "1")

# With Python's own threshold of 700 objects a sixth of the time that imports take goes into looking for garbage. They
# make 370,000 objects in all.
gc.set_threshold(500_000)
