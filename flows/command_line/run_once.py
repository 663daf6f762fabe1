"""Running a flow once from the command line."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from prefect import Flow, tags
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.settings import get_current_settings

from flows.command_line.temporary_server import bind_to_this_process
from flows.pipeline.ctrl_c import STOPPED_BY_CTRL_C, StoppedError, refused
from flows.pipeline.endings import exit_code, result_of
from src.marketing_messaging_service.errors import ParameterError, PipelineError
from src.marketing_messaging_service.reporting import RunReport, summary_text
from src.marketing_messaging_service.settings import load_settings

SERVER_LEVEL = "PREFECT_LOGGING_LOGGERS_PREFECT_SERVER_LEVEL"
"""The environment variable for how much Prefect's server logs."""

_ADVICE = {
    "Timed out while attempting to connect to ephemeral Prefect API server": (
        "Run again when the machine is less busy, or let PREFECT_HOME name another folder."
    ),
    "Failed to reach API": (
        "Start that server, or remove PREFECT_API_URL from the environment and from Prefect's profile; without it, a "
        "run starts a temporary server of its own."
    ),
}
"""What to do when Prefect cannot do its part, by the beginning of its message."""


def final_state(flow: Flow[..., State[Any]], parameters: Mapping[str, Any]) -> State[Any]:
    """Run a flow in this process and return the state that it ended in.

    Raises PipelineError, with nothing begun, when a setting or a parameter is wrong or Prefect's server cannot be
    started or reached; and StoppedError on Ctrl-C where the flow itself does not listen to it.
    """
    # Report mistakes at once, not after ten seconds of starting Prefect.
    load_settings()
    _refuse_wrong_parameters(flow, parameters)
    # A temporary server ends as soon as the run does, in the midst of its bookkeeping, and sometimes logs a traceback
    # about that. Another logger, not silenced here, says why it cannot start.
    os.environ.setdefault(SERVER_LEVEL, "CRITICAL")
    if not get_current_settings().api.url:
        bind_to_this_process()
    try:
        return flow(**parameters, return_state=True)
    except KeyboardInterrupt:
        raise StoppedError("Ctrl-C", STOPPED_BY_CTRL_C) from None
    except RuntimeError as error:
        for beginning, advice in _ADVICE.items():
            if str(error).startswith(beginning):
                complaint = str(error).rstrip(".")
                raise PipelineError(f"Prefect cannot run the flow: {complaint}. {advice}") from None
        raise


def _refuse_wrong_parameters(flow: Flow[..., State[Any]], parameters: Mapping[str, Any]) -> None:
    log = logging.getLogger("prefect.flows")
    level = log.level
    # It would first say the same as a Python list.
    log.setLevel(logging.CRITICAL)
    try:
        flow.validate_parameters(dict(parameters))
    except ParameterTypeError as error:
        wrong = "; ".join(line.strip(" -.") for line in str(error).splitlines() if line.startswith(" - "))
        raise ParameterError(f"{wrong or error}. Nothing was started; correct it and run again.") from None
    finally:
        log.setLevel(level)


def run_once(flow: Flow[..., State[RunReport]], options: Mapping[str, Any]) -> int:
    """Run a flow of the pipeline and print its summary; return the exit code, 0 only if everything went well.

    Options that are None are left to the flow.
    """
    parameters = {name: value for name, value in options.items() if value is not None}
    try:
        with tags("messaging", flow.name):
            state = final_state(flow, parameters)
    except PipelineError as error:
        return refused(error)
    run_report = result_of(state)
    if isinstance(run_report, RunReport):
        print(summary_text(run_report), flush=True)
    return exit_code(state)
