"""The analyst's web page: Datasette on the live file, with the dictionary and the questions people ask."""

from src.marketing_messaging_service.exploring.metadata import datasette_metadata
from src.marketing_messaging_service.exploring.query_files import Query, read_queries

__all__ = ["Query", "datasette_metadata", "read_queries"]
