"""What every table, view and column means: collected from the models and views, and published in three places."""

from src.marketing_messaging_service.dictionary.entries import Entry, entries
from src.marketing_messaging_service.dictionary.table import (
    is_dictionary_current,
    other_entries,
    refresh_dictionary,
    write_dictionary,
)

__all__ = ["Entry", "entries", "is_dictionary_current", "other_entries", "refresh_dictionary", "write_dictionary"]
