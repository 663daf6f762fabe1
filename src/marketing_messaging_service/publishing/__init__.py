"""What others take away: a consistent copy, Parquet of every table and view, and rejected lines to be edited."""

from src.marketing_messaging_service.publishing.publish import PublishedFile, publish
from src.marketing_messaging_service.publishing.rejected_lines import export_rejected_lines

__all__ = ["PublishedFile", "export_rejected_lines", "publish"]
