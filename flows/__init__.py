"""The Prefect edge: one file a flow, thin, with no data logic of its own."""

import os

# Read by Prefect at import. Nothing about a run is told to anybody unless the operator says otherwise.
os.environ.setdefault("DO_NOT_TRACK", "1")
