"""prefect.yaml, in which Prefect silently ignores what it does not know."""

from importlib import import_module
from typing import Annotated, Any, Literal

import pytest
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from flows.local_server import PROJECT
from flows.pipeline.dead_runs import WORK_POOL


class Known(BaseModel):
    """Refuses a key that nobody has written down here."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Schedule(Known):
    slug: str
    cron: str
    timezone: Literal["UTC"]
    active: bool = True


class WorkPool(Known):
    name: str


class Deployment(Known):
    name: str
    entrypoint: Annotated[str, Field(pattern=r"^flows/\w+\.py:\w+$")]
    tags: list[str]
    work_pool: WorkPool
    description: str | None = None
    parameters: dict[str, Any] = {}
    schedules: list[Schedule] = []

    def flow(self) -> Flow[..., Any]:
        path, name = self.entrypoint.split(":")
        found = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
        assert isinstance(found, Flow)
        return found


class PrefectFile(Known):
    name: str
    deployments: list[Deployment]


CONTENT = YAML(typ="safe").load(PROJECT / "prefect.yaml")
DEPLOYMENTS = PrefectFile.model_validate(CONTENT).deployments

each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)


def test_a_key_that_prefect_would_pass_over_is_refused() -> None:
    slipped = {**CONTENT, "deployments": [{**CONTENT["deployments"][0], "schedule": "5 * * * *"}]}
    with pytest.raises(ValidationError, match="schedule"):
        PrefectFile.model_validate(slipped)


def test_every_flow_with_a_schedule_in_the_readme_is_deployed() -> None:
    assert {"hourly", "check", "publish"} <= {deployment.name for deployment in DEPLOYMENTS}


@each_deployment
def test_the_entrypoint_is_the_flow_of_that_name(deployment: Deployment) -> None:
    assert deployment.flow().name == deployment.name


@each_deployment
def test_it_belongs_to_the_work_pool_that_the_worker_polls(deployment: Deployment) -> None:
    assert deployment.work_pool.name == WORK_POOL


@each_deployment
def test_it_is_found_by_the_tags_of_the_project_and_of_its_flow(deployment: Deployment) -> None:
    assert deployment.tags == ["messaging", deployment.name]


@each_deployment
def test_its_parameters_are_ones_that_the_flow_takes(deployment: Deployment) -> None:
    schema = parameter_schema(deployment.flow()).model_dump_for_openapi()
    assert set(deployment.parameters) <= set(schema["properties"])
    # A scheduled run has nobody who could fill in what is missing.
    may_lack_some = not deployment.schedules
    validate(deployment.parameters, schema, raise_on_error=True, ignore_required=may_lack_some)


@each_deployment
def test_its_schedules_can_be_read_and_have_names_of_their_own(deployment: Deployment) -> None:
    for schedule in deployment.schedules:
        assert CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    slugs = [schedule.slug for schedule in deployment.schedules]
    assert len(set(slugs)) == len(slugs)
