"""The script that people write first, pandas from clean lines to three tables: nothing validated, nothing decided."""

from pathlib import Path

import pandas as pd
from sqlalchemy import create_engine

EVENT_COLUMNS = ["id", "message_id", "user_id", "event_type", "event_timestamp"]
CHILDREN = {
    "event_properties": ("properties", ["amount", "attempt_number", "failure_reason"]),
    "user_traits": ("user_traits", ["email", "country", "marketing_opt_in", "risk_segment"]),
}


def read_and_append(raw_file: Path, database: Path) -> None:
    """read_json, json_normalize and to_sql, in one transaction into the same tables as ours."""
    frame = pd.read_json(raw_file, lines=True).drop_duplicates("message_id")
    frame["id"] = range(1, len(frame) + 1)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
    with create_engine(f"sqlite:///{database}").begin() as connection:
        frame[EVENT_COLUMNS].to_sql("events", connection, if_exists="append", index=False)
        for table, (key, columns) in CHILDREN.items():
            nested = frame.loc[frame[key].notna(), ["id", key]]
            child = pd.json_normalize(nested[key].to_list())[columns]
            child["event_id"] = nested["id"].to_numpy()
            child.to_sql(table, connection, if_exists="append", index=False)
