"""Our own page in Datasette: why a user did or did not get a message, linked from each cell that names a user."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasette import NotFound, Response, hookimpl

from src.marketing_messaging_service.exploring.explain_page import explain_link, explain_page

_ADDRESS = r"^/-/explain$"


@hookimpl
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Give Datasette the page."""
    return [(_ADDRESS, _explain)]


@hookimpl
def render_cell(row: Any, value: Any, column: str, datasette: Any) -> Any:
    """Link each user in a table or an answer to the page."""
    if column != "user_id" or not isinstance(value, str):
        return None
    others = {} if row is None else {name: _plain(row[name]) for name in row.keys()}  # noqa: SIM118  a row of sqlite3
    return explain_link(datasette.urls.path("/-/explain"), value, others)


def _plain(value: Any) -> Any:
    """Return the value of a cell, without the label of a row that it points at."""
    return value["value"] if isinstance(value, dict) else value


async def _explain(datasette: Any, request: Any) -> Any:
    database = next((each for each in datasette.databases.values() if each.path), None)
    if database is None:
        raise NotFound("There is no file to explain.")
    given = {name: request.args.get(name) or "" for name in request.args}
    # In a thread, because it takes time and the server has only one.
    page = await asyncio.to_thread(explain_page, Path(database.path), given)
    return Response.html(
        await datasette.render_template("explain.html", page, request=request), status=400 if page["problem"] else 200
    )
