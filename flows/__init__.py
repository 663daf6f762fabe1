"""The Prefect edge: one file a flow, thin, with no data logic of its own."""
