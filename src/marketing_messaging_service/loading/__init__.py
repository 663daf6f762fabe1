"""From typed rows to the tables, one transaction a file. Knows the database, reads no raw file."""

from src.marketing_messaging_service.loading.ledger import known_files, undecided_event_count
from src.marketing_messaging_service.loading.load import load_file

__all__ = ["known_files", "load_file", "undecided_event_count"]
