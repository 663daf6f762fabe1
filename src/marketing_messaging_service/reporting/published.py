"""Lists what was published, as Markdown for the Prefect UI."""

from collections.abc import Iterable

from src.marketing_messaging_service.reporting.tables import markdown_table, table_of


def published_markdown(files: Iterable[tuple[str, int | None, int]]) -> str:
    """Return files, each of them a name, rows (None for the copy of the database) and bytes, as a table."""
    rows = [
        (name, "" if row_count is None else f"{row_count:,}", f"{size_bytes / 1e6:,.1f}")
        for name, row_count, size_bytes in files
    ]
    return markdown_table(table_of("Files published", ("file", "rows", "MB"), rows, most=len(rows)))
