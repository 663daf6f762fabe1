"""Why a line, or what takes the place of one, cannot become an event."""

from dataclasses import dataclass

from src.marketing_messaging_service.vocabulary import ReasonCode


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason of a rejected row."""

    reason_code: ReasonCode
    field_name: str | None
    explanation: str
    header_line: str | None = None
    """The header of the CSV in which the line is a row that cannot be read as one."""


class DamagedFileError(Exception):
    """A packed file breaks off or is damaged; everything before the damage has been given."""

    def __init__(self, reason_code: ReasonCode, explanation: str) -> None:
        super().__init__(explanation)
        self.rejection = Rejection(reason_code, None, explanation)
