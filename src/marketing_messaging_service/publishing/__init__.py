"""The file as others take it away: a consistent copy, and Parquet of every table and view."""

from src.marketing_messaging_service.publishing.publish import PublishedFile, publish

__all__ = ["PublishedFile", "publish"]
