"""sqlite-utils from a file to SQLite: one wide table; nothing validated, nothing decided."""

import importlib
from pathlib import Path

cli = importlib.import_module("sqlite_utils.cli").cli


def insert(raw_file: Path, database: Path) -> dict[str, float]:
    """What `sqlite-utils insert … --nl --flatten --alter --pk message_id` does."""
    options = ["--nl", "--flatten", "--alter", "--pk", "message_id"]
    cli.main(["insert", str(database), "events", str(raw_file), *options], standalone_mode=False)
    return {}
