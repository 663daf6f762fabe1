"""What `make up` runs on this machine until Ctrl-C: a Prefect server, the deployments and a worker."""

from flows.local_server.place import PROJECT, Place
from flows.local_server.server_and_worker import STOP_SIGNALS, STOPPED_BY_HAND, up

__all__ = ["PROJECT", "STOPPED_BY_HAND", "STOP_SIGNALS", "Place", "up"]
