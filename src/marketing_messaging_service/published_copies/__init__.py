"""Files for others: a consistent copy, every table and view as Parquet, and rejected lines for editing."""

from src.marketing_messaging_service.published_copies.publish import PublishedFile, publish
from src.marketing_messaging_service.published_copies.rejected_lines import export_rejected_lines

__all__ = ["PublishedFile", "export_rejected_lines", "publish"]
