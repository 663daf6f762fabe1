"""Runs whose decisions are explained."""

from collections.abc import Sequence
from typing import Any

from tests.pipeline import AS_OF, Pipeline


def play(pipeline: Pipeline, rules: Sequence[Any], *files: Sequence[Any], **others: Any) -> None:
    """Take files one after the other, each in a run that decides by the same rules."""
    for events in files:
        pipeline.land(events)
        pipeline.do(pipeline.options(as_of=AS_OF), {"rules": list(rules), **others})
