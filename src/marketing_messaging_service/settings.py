"""The settings of a run: environment variables, or a `.env` file in the current folder."""

import difflib
from pathlib import Path
from typing import Annotated

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url

from src.marketing_messaging_service.errors import SettingsError
from src.marketing_messaging_service.infrastructure.buckets import usable_place
from src.marketing_messaging_service.infrastructure.dialects.choice import checked_url, dialect_of
from src.marketing_messaging_service.infrastructure.schedulers import DaskScheduler, usable_scheduler
from src.marketing_messaging_service.paths import Place, Places, refuse_overlaps

ENV_FILE = Path(".env")

FOREIGN_PREFIXES = ("PREFECT_",)
"""Variables in `.env` that belong to other programs and are left to them."""


def _place(value: object) -> object:
    return usable_place(value) if isinstance(value, str) else value


def _scheduler(text: str) -> str:
    return str(usable_scheduler(text)) if text else text


def _folder(path: Path) -> Path:
    if str(path).lower().startswith("s3:"):
        raise ValueError("names a bucket; name a folder that this run and every Dask worker reach by the same path")
    return path


def _refuse_several_on_a_file(value: bool, info: ValidationInfo) -> bool:
    url = info.data.get("database_url")
    if value and url is not None and dialect_of(url).several_writers is None:
        raise ValueError(
            "several runs can write at the same time only to a database on a server, and DATABASE_URL names a file. "
            "Let it name a PostgreSQL database (docs/scale.md), or leave SEVERAL_WRITERS out"
        )
    return value


def _refuse_shards_alone(value: int, info: ValidationInfo) -> int:
    if value > 1 and info.data.get("several_writers") is False:
        raise ValueError(
            "several shards can be decided at once only where several runs may write. Set SEVERAL_WRITERS=true "
            "as well (docs/scale.md), or leave DECIDE_SHARDS out"
        )
    return value


PlaceSetting = Annotated[Place, BeforeValidator(_place)]


class Settings(BaseSettings):
    """The settings of a run. Relative paths are relative to the current folder."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True)

    database_url: Annotated[str, AfterValidator(checked_url), Field(repr=False)] = "sqlite:///./messaging.db"
    several_writers: Annotated[bool, AfterValidator(_refuse_several_on_a_file)] = False
    decide_shards: Annotated[int, Field(ge=1, le=64), AfterValidator(_refuse_shards_alone)] = 1
    landing_path: PlaceSetting = Path("data/landing")
    landing_settle_seconds: Annotated[int, Field(ge=0, le=3_600)] = 2
    delivery_keys: str = ""
    sources_path: Path = Path("data/sources.yaml")
    rules_path: Path = Path("data/rules.yaml")
    publish_path: PlaceSetting = Path("data/published")
    reports_path: Path = Path("data/reports")
    dask_scheduler: Annotated[str, AfterValidator(_scheduler)] = ""
    staged_path: Annotated[Path, AfterValidator(_folder)] = Path("data/staged")
    run_lock_timeout_seconds: Annotated[int, Field(ge=0, le=86_400)] = 600
    migration_copy: bool = True
    run_lease_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60

    @property
    def database_path(self) -> Path | None:
        """The file that `database_url` names, None if it names a database on a server."""
        return dialect_of(self.database_url).file_of(make_url(self.database_url))

    @property
    def more_delivery_keys(self) -> frozenset[str]:
        """The keys that `delivery_keys` names, separated by commas."""
        return frozenset(filter(None, map(str.strip, self.delivery_keys.split(","))))

    @property
    def dask(self) -> DaskScheduler | None:
        """The scheduler that `dask_scheduler` names, None for none."""
        return usable_scheduler(self.dask_scheduler) if self.dask_scheduler else None

    @property
    def own_sources_path(self) -> Path | None:
        """The file that says how raw files are written; None if none is named and there is none at the usual place."""
        is_named = "sources_path" in self.model_fields_set
        return self.sources_path if is_named or self.sources_path.exists() else None

    @property
    def places(self) -> Places:
        """Every path that these settings name."""
        return Places(
            database=self.database_path,
            copy_name=dialect_of(self.database_url).copy_name(make_url(self.database_url)),
            landing=self.landing_path,
            sources=self.sources_path,
            rules=self.rules_path,
            publish=self.publish_path,
            reports=self.reports_path,
            staged=self.staged_path,
        )


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`; the environment wins.

    Raises SettingsError, naming the variable, when a value is malformed, `.env` has an unknown name, or what one
    setting names would overwrite, or be read as, what another one names.
    """
    _refuse_unknown_names(_names_in_env_file())
    try:
        settings = Settings(_env_file=ENV_FILE)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_sentence, error.errors()))) from None
    refuse_overlaps(settings.places)
    return settings


_EXPECTED = {
    "int_parsing": "a whole number",
    "bool_parsing": "true or false",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}
"""What to say about each kind of pydantic's errors; the names in braces are its details."""


def _sentence(detail: ErrorDetails) -> str:
    variable = str(detail["loc"][0]).upper() if detail["loc"] else "The settings"
    complaint = detail["msg"].removeprefix("Value error, ")
    if expected := _EXPECTED.get(detail["type"]):
        complaint = f"expected {expected.format_map(detail.get('ctx', {}))}, found {detail['input']}"
    return f"{variable}: {complaint}. Correct it in the environment or in .env."


def _names_in_env_file() -> list[str]:
    """Return the names that `.env` sets; raise SettingsError at a line that python-dotenv would silently skip."""
    if not ENV_FILE.is_file():
        return []
    try:
        with ENV_FILE.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE} is not UTF-8 text; save it as UTF-8.") from None
    names = []
    for binding in bindings:
        if binding.key is None and not binding.error:
            continue
        if binding.key is None or binding.value is None or not binding.key.isidentifier():
            # The line itself is not repeated, because it may hold a password.
            raise SettingsError(f"Line {binding.original.line} of {ENV_FILE} cannot be read; expected NAME=value.")
        names.append(binding.key)
    return names


def _refuse_unknown_names(names: list[str]) -> None:
    """Raise SettingsError at a name that no setting has, which is nearly always a typo."""
    known = {name.upper() for name in Settings.model_fields}
    for name in names:
        if name.upper() in known or name.upper().startswith(FOREIGN_PREFIXES):
            continue
        nearest = difflib.get_close_matches(name.upper(), known, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known settings are {', '.join(sorted(known))}."
        raise SettingsError(f"{name} in {ENV_FILE} is not a setting; {hint}")
