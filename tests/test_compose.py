"""The file of containers, held against what the project has; without Docker nothing of it can be started."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src.marketing_messaging_service.infrastructure.dialects.choice import checked_url
from src.marketing_messaging_service.settings import Settings

ROOT = Path(__file__).parents[1]
FILE = YAML(typ="safe").load(ROOT / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OTHERS = ("PREFECT_", "POSTGRES_", "PGPASSWORD")
"""How variables begin that are read by other programs."""


def words(service: str) -> list[str]:
    """The words of a service's command, those that a shell is given among them."""
    command = SERVICES[service].get("command", [])
    return [word for each in command for word in (shlex.split(each) if " " in each else [each])]


def environment() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        yield from service.get("environment", {}).items()


def test_every_variable_is_a_setting_or_another_programs() -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert [name for name, _ in environment() if name not in known and not name.startswith(OTHERS)] == []


def test_the_settings_can_be_used_and_hold_no_password() -> None:
    given = {name.lower(): value for name, value in environment() if name.lower() in Settings.model_fields}
    settings = Settings.model_validate(given)
    assert settings.several_writers
    assert checked_url(given["database_url"]) == given["database_url"]
    assert re.search(r"://messaging@database/", given["database_url"])


def test_what_is_installed_is_what_the_lock_files_name() -> None:
    locks = [word for word in words("packages") if word.endswith(".lock")]
    assert len(locks) == 4
    assert [name for name in locks if not (ROOT / name).is_file()] == []


def test_every_service_waits_for_services_that_there_are_and_uses_volumes_that_there_are() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= SERVICES.keys(), name
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= {".", *FILE["volumes"]}, name


def test_nothing_is_reachable_from_other_machines() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200"]


def test_the_deployments_and_their_worker_have_one_pool() -> None:
    pools = {each["work_pool"]["name"] for each in YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]}
    assert pools == {"messaging"}
    assert "messaging" in words("worker")
    assert "messaging" in words("deploy")


@pytest.mark.server
@pytest.mark.parametrize("service", ["dask-scheduler", "dask-worker", "worker", "prefect"])
def test_each_command_knows_its_options(service: str) -> None:
    program, *given = words(service)
    if program.endswith("/python"):
        assert importlib.util.find_spec(given[1]) is not None
        command, options = [sys.executable, *given[:3]], given[3:]
    else:
        command, options = [str(Path(sys.executable).with_name("prefect")), *given[:2]], given[2:]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert [word for word in options if word.startswith("--") and word not in shown] == []
