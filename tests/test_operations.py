"""docs/operations.md cannot lie about names: Prefect silently ignores settings that it does not know."""

import re
from pathlib import Path

import pytest
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import Settings as PrefectSettings
from pydantic import AliasChoices
from pydantic_settings import BaseSettings
from ruamel.yaml import YAML

from src.marketing_messaging_service.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
VARIABLES = re.findall(r"^([A-Z_]+)=", PAGE, re.MULTILINE)
OUR_VARIABLES = {name.upper() for name in Settings.model_fields}

LOGGING_PREFIX = "PREFECT_LOGGING_LOGGERS_"
"""Such variables change what Prefect's file of logging settings says, and are not settings of their own."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def known_to_prefect(model: type[BaseSettings] = PrefectSettings) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        aliases = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else []
        names |= {alias.upper() for alias in aliases if isinstance(alias, str)}
        names.add(f"{model.model_config['env_prefix']}{name}".upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            names |= known_to_prefect(field.annotation)
    return names


@pytest.mark.parametrize("name", [name for name in sorted(set(VARIABLES)) if not name.startswith(LOGGING_PREFIX)])
def test_every_variable_on_the_page_is_known_to_prefect_or_to_us(name: str) -> None:
    assert name in known_to_prefect() | OUR_VARIABLES | {"DO_NOT_TRACK"}


def test_the_automations_are_ones_that_prefect_takes() -> None:
    (text,) = blocks("yaml")
    automations = [AutomationCore.model_validate(each) for each in YAML(typ="safe").load(text)["automations"]]
    assert [len(automation.actions) for automation in automations] == [1, 1]


def test_the_services_start_commands_that_exist() -> None:
    modules = re.findall(r"^Exec\w+=.*python -m ([\w.]+)$", PAGE, re.MULTILINE)
    assert modules == ["flows.leftovers", "flows.leftovers"]
    for module in modules:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
