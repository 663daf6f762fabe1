"""The Dask scheduler that a setting names, for staging many raw files at once; its packages are an optional extra."""

import re
from dataclasses import dataclass
from importlib.util import find_spec

MISSING_DASK = (
    "names a Dask scheduler, and prefect-dask is not installed; `make dask` installs it, or "
    "`pip install -r requirements-dask.lock`"
)

EXPECTED = "expected tcp://host:port, the address of a scheduler, or local:2 for two workers on this machine"

MOST_LOCAL_WORKERS = 64

_ADDRESS = re.compile(r"tcp://(?:\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):(\d{1,5})/?")
_LOCAL = re.compile(r"local:(\d{1,3})")


@dataclass(frozen=True, slots=True)
class DaskScheduler:
    """A running scheduler, or a number of workers that a run starts for itself on its own machine."""

    address: str = ""
    """The scheduler's address, as tcp://host:port; empty for the run's own workers."""
    worker_count: int = 0
    """How many workers the run starts for itself; 0 if there is a running scheduler."""

    def __str__(self) -> str:
        return self.address or f"local:{self.worker_count}"


def usable_scheduler(text: str) -> DaskScheduler:
    """Return the scheduler that a setting names. Raises ValueError if it is invalid or unusable."""
    address, local = _ADDRESS.fullmatch(text), _LOCAL.fullmatch(text)
    if address is not None and 0 < int(address[1]) < 1 << 16:
        scheduler = DaskScheduler(address=text.rstrip("/"))
    elif local is not None and 0 < int(local[1]) <= MOST_LOCAL_WORKERS:
        scheduler = DaskScheduler(worker_count=int(local[1]))
    elif local is not None:
        raise ValueError(f"{local[1]} workers cannot be started on this machine; name 1 to {MOST_LOCAL_WORKERS}")
    else:
        raise ValueError(f"names no Dask scheduler; {EXPECTED}")
    if find_spec("prefect_dask") is None:
        raise ValueError(MISSING_DASK)
    return scheduler
