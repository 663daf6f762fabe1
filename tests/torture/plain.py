"""The functions of flows/pipeline/one_run.py themselves, at work without Prefect.

What differs from a run under Prefect: a step is the plain function, tried once, what is logged goes to the output, and
no artifact is left. The section `flows` of the long form holds the two together.
"""

import logging
from collections.abc import Callable
from typing import Any

from flows.pipeline import endings, one_run, staging_ahead, staging_files, taking

STEPS = {
    one_run: ("migrate", "discover", "choose", "decide", "report"),
    staging_files: ("stage",),
    staging_ahead: ("stage",),
    taking: ("load",),
}


def do_without_prefect() -> None:
    """Take Prefect out of the pipeline, in this process and for good."""
    log = _log()
    plain: dict[str, Callable[..., Any]] = {
        "outcome": lambda given: given,
        "get_run_logger": lambda: log,
        "flow_logger": lambda: log,
        "show": lambda *_: None,
    }
    for module, names in STEPS.items():
        own = {name: getattr(module, name).__wrapped__ for name in names}
        vars(module).update({name: each for name, each in (plain | own).items() if name in vars(module)})
    vars(endings)["get_run_logger"] = lambda: log
    vars(endings)["create_markdown_artifact"] = lambda *_, **__: None


def _log() -> logging.Logger:
    log = logging.Logger("victim")
    log.addHandler(_Printer())
    return log


class _Printer(logging.Handler):
    """Prints to whatever is the output at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)
