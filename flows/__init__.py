"""The Prefect edge: one file per flow, thin, with no data logic of its own."""

import gc
import os

# Prefect reads this at import. Nothing about a run is reported to anybody unless the operator says otherwise.
os.environ.setdefault("DO_NOT_TRACK", "1")

# No matrix is multiplied here, but the threads that numpy starts for that at import spin for 0.11 s on another core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Read by pyarrow at import. Its own allocator keeps 90 MB of what staging a large file has used; the system's gives it
# back, and takes no longer.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# With Python's default threshold of 700 objects, a sixth of the import time goes into garbage collection. Imports make
# 370,000 objects in all.
gc.set_threshold(500_000)
