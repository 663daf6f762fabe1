"""The explanation as a run with a form, whose answer is a page in the Prefect UI: the deployment *explain*."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.command_line.parameters import InstantOrEmpty, end_of_window
from flows.explain import explained
from flows.pipeline.endings import RunPage
from flows.pipeline.steps import named_by_start, outcome, step
from flows.pipeline.stopping import CANCEL, StopRequest
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.explaining import Answer, Asked, asked_where
from src.marketing_messaging_service.infrastructure.database import ended_by

_UNCHANGED = "Nothing was changed; start it again."


@step("explain")
def look(asked: Asked, stop: StopRequest) -> Answer:
    """Look up the answer in one snapshot of the database."""
    return explained(asked, ended_by(stop.check))


@flow(name="explain", flow_run_name=named_by_start("explain"))
def explain(  # noqa: PLR0917  the fields of a form
    user_id: str = "",
    rule_name: str = "",
    message_id: str = "",
    since: InstantOrEmpty = None,
    until: InstantOrEmpty = None,
    where: str = "",
) -> State[Answer]:
    """Explain why a user got a message or did not; or what came of all the events that a rule looked at, and why.

    It only reads. The answer is under *Artifacts*.

    Args:
        user_id: The user to explain. Left empty, every user; then a rule must be named.
        rule_name: Only this rule. Left empty, every rule that looked at an event of the user.
        message_id: Only the user's event with this message_id. Left empty, every event.
        since: Only events from this instant on. Left empty, all of the past.
        until: Only events before this instant. Left empty, all there are.
        where: Without a user: only events with these values, such as `user_traits.country=DE`, separated by commas.
            Left empty, every event.
    """
    page, stop = RunPage("explanation"), StopRequest(_UNCHANGED)
    try:
        with page.cut_off(f"Stopped by {CANCEL}. {_UNCHANGED}"), stop.listening():
            asked = Asked(
                user_id=user_id.strip(),
                rule_name=rule_name.strip(),
                message_id=message_id.strip(),
                since=None if since is None else end_of_window(since),
                until=None if until is None else end_of_window(until),
                where=asked_where(where.split(",")),
            )
            found: Answer = outcome(look(asked, stop))
    except PipelineError as error:
        return page.failed(error)
    page.keep(lambda: page.show(found.markdown, found.headline))
    return page.completed(found.headline, found)
