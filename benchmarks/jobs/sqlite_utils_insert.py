"""sqlite-utils from clean lines to SQLite: one wide table; nothing validated, nothing decided."""

import importlib
from pathlib import Path

cli = importlib.import_module("sqlite_utils.cli").cli


def insert(raw_file: Path, database: Path) -> None:
    """What `sqlite-utils insert … --nl --flatten --alter --pk message_id --ignore` does."""
    options = ["--nl", "--flatten", "--alter", "--pk", "message_id", "--ignore"]
    cli.main(["insert", str(database), "events", str(raw_file), *options], standalone_mode=False)
