"""The dictionary inside the file: the table `data_dictionary`."""

from dataclasses import asdict

from sqlalchemy import Connection, Engine, delete, insert, select

from src.marketing_messaging_service.dictionary.entries import entries
from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.models import DictionaryEntry


def refresh_dictionary(engine: Engine) -> bool:
    """Rewrite the dictionary if it differs from the code's, and return whether it did; needs the newest schema."""
    with read_transaction(engine) as connection:
        if not other_entries(connection):
            return False
    with write_transaction(engine) as connection:
        write_dictionary(connection)
    return True


def is_dictionary_current(engine: Engine) -> bool:
    """Return whether the dictionary matches the code's; needs the newest schema."""
    with read_transaction(engine) as connection:
        return not other_entries(connection)


def write_dictionary(connection: Connection) -> None:
    """Replace the rows of `data_dictionary` by the code's."""
    connection.execute(delete(DictionaryEntry))
    connection.execute(insert(DictionaryEntry), [asdict(entry) for entry in entries()])


def other_entries(connection: Connection) -> list[str]:
    """Return, by table and column, the entries that are only in the file or only in the code."""
    columns = DictionaryEntry.__table__.columns
    names = [column.name for column in columns]
    rows = {tuple(row) for row in connection.execute(select(*columns))}
    wanted = {tuple(getattr(entry, name) for name in names) for entry in entries()}
    others = (dict(zip(names, row, strict=True)) for row in rows ^ wanted)
    return sorted({".".join(filter(None, (other["table_name"], other["column_name"]))) for other in others})
