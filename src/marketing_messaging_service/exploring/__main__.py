"""Open the file in Datasette, at 127.0.0.1 and read-only: `make explore`."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.exploring.metadata import datasette_metadata
from src.marketing_messaging_service.infrastructure.database import shown_database
from src.marketing_messaging_service.paths import Bucket
from src.marketing_messaging_service.settings import Settings, load_settings

TEMPLATES = Path(__file__).parent / "templates"
"""Our own pages in place of Datasette's: the questions come first, and each page names its tab."""

PLUGINS = Path(__file__).parent / "plugins"
"""Our own page that explains, and the links to it."""

# Never --immutable: it would make SQLite ignore the -wal, with the newest rows, and its locks. Without it Datasette
# opens the file with mode=ro, which can read while a run writes.
OPTIONS = (
    *("--host", "127.0.0.1"),
    *("--template-dir", str(TEMPLATES)),
    *("--plugins-dir", str(PLUGINS)),
    *("--setting", "sql_time_limit_ms", "20000"),
    *("--setting", "facet_time_limit_ms", "1000"),
    *("--setting", "suggest_facets", "off"),
    *("--setting", "allow_download", "off"),
    *("--setting", "truncate_cells_html", "200"),
)


def main() -> int:
    """Serve the file that DATABASE_URL names, or the published copy of a server's database, until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make explore", description=__doc__)
    parser.add_argument("--port", type=int, default=8001, help="default: %(default)s")
    port = parser.parse_args().port
    try:
        path = _file(load_settings())
        metadata = datasette_metadata(path.stem)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    folder = tempfile.mkdtemp(prefix="explore-")
    metadata_path = Path(folder) / "metadata.json"
    metadata_path.write_text(json.dumps(metadata), encoding="utf-8")
    print(f"http://127.0.0.1:{port}/ shows {path}; Ctrl-C ends it.", flush=True)
    arguments = ["serve", str(path), "--metadata", str(metadata_path), "--port", str(port), *OPTIONS]
    # Datasette replaces this process, so that it gets Ctrl-C itself.
    return os.execv(sys.executable, [sys.executable, "-m", "datasette", *arguments])  # noqa: S606  no shell is wanted


def _file(settings: Settings) -> Path:
    """Return the file to show: the database itself, or the published copy of one on a server."""
    if settings.database_path is None:
        path = settings.places.copy_path
        if isinstance(path, Bucket):
            raise DatabaseError(
                f"PUBLISH_PATH names the bucket {settings.publish_path}, and Datasette shows a file; publish into a "
                "folder: PUBLISH_PATH=data/published make publish, then PUBLISH_PATH=data/published make explore."
            )
        missing = (
            f"There is no copy at {path} of {shown_database(settings.database_url)}; `make publish` makes it, and "
            "remakes it whenever you like."
        )
    else:
        path = settings.database_path
        missing = (
            f"There is no database at {path}; `make run` makes it. To look at the demo's, after `make demo`: "
            "DATABASE_URL=sqlite:///./demo.db make explore"
        )
    if not path.is_file():
        raise DatabaseError(missing)
    return path


if __name__ == "__main__":
    sys.exit(main())
