"""What a run logs of the files that it stages."""

from typing import cast

import pytest

from src.marketing_messaging_service.reporting import staging_line
from src.marketing_messaging_service.staging.results import LandingFile, ReplayedLines, StagedFile, StagedRows
from src.marketing_messaging_service.vocabulary import ReasonCode

STILL = {(ReasonCode.INVALID_JSON, ReasonCode.INVALID_JSON): 2, (ReasonCode.EMPTY_TEXT, ReasonCode.INVALID_JSON): 1}


def staged(valid_count: int, replayed: ReplayedLines | None = None) -> StagedFile:
    """A staged file with so many lines, all of them events."""
    file, rows = cast("LandingFile", None), cast("StagedRows", None)
    return StagedFile(file, valid_count, valid_count, 0, 0, {}, rows, lambda _: iter(()), replayed=replayed)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([staged(0)], "0 lines = 0 events + 0 rejected + 0 blank."),
        ([staged(1), staged(2)], "3 lines = 3 events + 0 rejected + 0 blank."),
        ([staged(0, ReplayedLines([], STILL))], "nothing to take; 3 lines still rejected."),
        ([staged(1, ReplayedLines([7], STILL))], "1 line = 1 event + 0 rejected + 0 blank; 3 lines still rejected."),
    ],
    ids=["empty", "two files", "a replay that takes nothing", "a replay that takes a part"],
)
def test_staging_is_logged_with_what_a_replay_leaves_rejected(files: list[StagedFile], expected: str) -> None:
    assert staging_line("x", files, 0.04) == f"Staged x in 0.0 s: {expected}"
