"""One run at a time on one database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from src.marketing_messaging_service.infrastructure.database import foreseeable_errors
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_of


@contextmanager
def run_lock(database_url: str, timeout_seconds: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the run lock of a database; `on_wait` is called about once a second while another run holds it.

    It is released when the process that holds it ends, however it ends. Raises RunInProgressError when the other run
    does not end in time, and DatabaseError when the lock cannot be requested.
    """
    with ExitStack() as held:
        with foreseeable_errors():
            held.enter_context(dialect_of(database_url).run_lock(database_url, timeout_seconds, on_wait))
        yield
