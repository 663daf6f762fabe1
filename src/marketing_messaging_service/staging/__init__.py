"""From a raw file to typed rows and rejected rows. Reads files, knows no database."""

from src.marketing_messaging_service.staging.edited import read_edited_lines
from src.marketing_messaging_service.staging.landing import discover
from src.marketing_messaging_service.staging.sources.file import SourcesFile, read_sources
from src.marketing_messaging_service.staging.stage import next_files, stage_file, stage_files

__all__ = ["SourcesFile", "discover", "next_files", "read_edited_lines", "read_sources", "stage_file", "stage_files"]
