"""What the flows' command lines share: arguments, parameters, and a run without a Prefect server."""
