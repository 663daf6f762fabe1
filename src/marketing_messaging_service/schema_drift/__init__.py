"""The schema as the code declares it: finds where a database differs, and rebuilds views and indexes."""

from src.marketing_messaging_service.infrastructure.dialects.schema_object import Kind
from src.marketing_messaging_service.schema_drift.differences import Difference, find_differences, refuse_older_schema
from src.marketing_messaging_service.schema_drift.repair import repair

__all__ = ["Difference", "Kind", "find_differences", "refuse_older_schema", "repair"]
