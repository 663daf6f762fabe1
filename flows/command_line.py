"""Running a flow once from the command line."""

import argparse
import logging
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prefect import Flow, tags
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError

from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.reporting import RunReport, summary_text
from src.marketing_messaging_service.settings import load_settings


def read_instant(text: str) -> datetime:
    """Read an instant that was given on the command line."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no date or time; write it like 2026-11-23T10:00:00Z") from None


def run_once(flow: Flow[..., State[RunReport]], options: Mapping[str, Any]) -> int:
    """Run a flow of the pipeline and print its summary; return the exit code, 0 only if everything went well.

    Options that are None are left to the flow.
    """
    parameters = {name: value for name, value in options.items() if value is not None}
    try:
        # A wrong setting is told at once, not after ten seconds of starting Prefect.
        load_settings()
        flow.validate_parameters(parameters)
    except (PipelineError, ParameterTypeError) as error:
        print(error, file=sys.stderr)
        return 1
    with tags("messaging", flow.name):
        state: State[Any] = flow(**parameters, return_state=True)
    run_report = state.result(raise_on_failure=False)
    if isinstance(run_report, RunReport):
        # The summary is to be the last thing on the terminal; Prefect would tell of its server's end after it.
        logging.getLogger("prefect").setLevel(logging.WARNING)
        print(summary_text(run_report), flush=True)
    return 0 if state.is_completed() else 1
