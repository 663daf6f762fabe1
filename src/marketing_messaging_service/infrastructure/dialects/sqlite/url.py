"""Checks a URL that names a SQLite file."""

from pathlib import Path

from sqlalchemy import URL


def refuse_url(url: URL, as_written: str) -> None:
    """Raise ValueError, saying what is wrong, when a URL names no file, or not the one that it seems to name."""
    if url.get_driver_name() != "pysqlite":
        raise ValueError(f"asks for the driver {url.get_driver_name()}; expected plain sqlite:///…")
    if url.host or url.port or url.username or url.password or url.query:
        raise ValueError("names more than a file; expected sqlite:/// and a path, such as sqlite:///./messaging.db")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError("names no file; a run needs one to leave its result in (sqlite:///./messaging.db)")
    path = as_written.partition(":///")[2]
    if path != url.database and Path(path).exists() and not Path(url.database).exists():
        # Versions before SQLAlchemy 2.1 took the text literally; a new, empty database would decide everything again.
        raise ValueError(
            f"means the file {url.database}, which does not exist, while {path} does; write %25 for each % of it"
        )
