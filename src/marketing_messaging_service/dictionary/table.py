"""The dictionary inside the file: the table `data_dictionary`."""

from dataclasses import asdict

from sqlalchemy import Connection, Engine, delete, insert, select

from src.marketing_messaging_service.dictionary.entries import entries
from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.models import DictionaryEntry


def refresh_dictionary(engine: Engine) -> bool:
    """Write the dictionary anew if it differs from the code's, and return whether it did; needs the newest schema."""
    with read_transaction(engine) as connection:
        if _is_current(connection):
            return False
    with write_transaction(engine) as connection:
        write_dictionary(connection)
    return True


def write_dictionary(connection: Connection) -> None:
    """Make the rows of `data_dictionary` those of the code."""
    connection.execute(delete(DictionaryEntry))
    connection.execute(insert(DictionaryEntry), [asdict(entry) for entry in entries()])


def _is_current(connection: Connection) -> bool:
    columns = DictionaryEntry.__table__.columns
    rows = {tuple(row) for row in connection.execute(select(*columns))}
    return rows == {tuple(asdict(entry)[column.name] for column in columns) for entry in entries()}
