"""Parameters of flows as the forms of the Prefect UI can show and send them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


class _SchemaWithoutDefault(dict[str, Any]):
    """A JSON schema that pydantic cannot add a default to."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "default":
            super().__setitem__(key, value)


class _PlainField:
    """Declares what may be left empty as one field.

    Of a union with None the form makes two tabs. A field that is left empty is sent as null, which Prefect's server
    takes for any parameter that has no default in its schema, and for no other.
    """

    def __init__(self, **schema: Any) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _SchemaWithoutDefault(self._schema)


InstantOrEmpty = Annotated[datetime | None, _PlainField(type="string", format="date-time")]
"""An instant, for which the form has a picker of date and time that may be left empty."""
