"""The JSON Schema of rules.yaml, for editors to complete and check it; made from the types that read it."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from src.marketing_messaging_service.decisions.parts import Part
from src.marketing_messaging_service.decisions.rules import Rules

TITLE = "rules.yaml of the marketing messaging service"


class _Plain(GenerateJsonSchema):
    """A key may be left out, but if it is there it has a value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def rules_schema() -> dict[str, Any]:
    """Return the schema. `python -m flows.rules check` finds mistakes that involve several keys."""
    schema = Rules.model_json_schema(schema_generator=_Plain)
    for part in _parts(Part):
        for key in part.may_be_empty:
            properties = schema["$defs"].get(part.__name__, {}).get("properties", {})
            if "type" in properties.get(key, {}):
                properties[key] = {"anyOf": [properties[key], {"type": "null"}]}
    for definition in schema["$defs"].values():
        definition.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": TITLE}


def rules_schema_text() -> str:
    """Return the schema as a file holds it."""
    return f"{json.dumps(rules_schema(), indent=2)}\n"


def _parts(part: type[Part]) -> Iterator[type[Part]]:
    for each in part.__subclasses__():
        yield each
        yield from _parts(each)
