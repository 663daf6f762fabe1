"""The usual way of a data analyst: pandas from the file to the tables, nothing validated, nothing decided."""

from pathlib import Path

import pandas as pd

from src.marketing_messaging_service.infrastructure.database import create_database_engine

CHILDREN = {
    "event_properties": ("properties", ["amount", "attempt_number", "failure_reason"]),
    "user_traits": ("user_traits", ["email", "country", "marketing_opt_in", "risk_segment"]),
}


def read_and_append(raw_file: Path, database: Path) -> dict[str, float]:
    """read_json, json_normalize and to_sql, in one transaction on the same tables and settings as ours."""
    frame = pd.read_json(raw_file, lines=True)
    frame["id"] = range(1, len(frame) + 1)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
    events = frame[["id", "message_id", "user_id", "event_type", "event_timestamp"]]
    with create_database_engine(f"sqlite:///{database}", create=True).begin() as connection:
        events.to_sql("events", connection, if_exists="append", index=False)
        for table, (key, columns) in CHILDREN.items():
            nested = frame.loc[frame[key].notna(), ["id", key]]
            child = pd.json_normalize(nested[key].to_list())[columns].dropna(how="all")
            child["event_id"] = nested["id"].to_numpy()[child.index]
            child.to_sql(table, connection, if_exists="append", index=False)
    return {}
