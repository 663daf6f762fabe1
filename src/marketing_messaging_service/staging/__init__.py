"""Turns a raw file into typed rows and rejected rows. Reads files, knows no database."""

from src.marketing_messaging_service.staging.edited import read_edited_lines
from src.marketing_messaging_service.staging.landing import discover, grown_since
from src.marketing_messaging_service.staging.small_files import next_files
from src.marketing_messaging_service.staging.sources.file import SourcesFile, read_sources
from src.marketing_messaging_service.staging.stage import stage_file, stage_files
from src.marketing_messaging_service.staging.stored import StagingOrder, Stored, open_stored, store
from src.marketing_messaging_service.staging.sweeping import sweep

__all__ = [
    "SourcesFile",
    "StagingOrder",
    "Stored",
    "discover",
    "grown_since",
    "next_files",
    "open_stored",
    "read_edited_lines",
    "read_sources",
    "stage_file",
    "stage_files",
    "store",
    "sweep",
]
