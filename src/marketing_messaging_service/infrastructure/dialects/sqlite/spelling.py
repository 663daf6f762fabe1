"""SQLite's text of each function; {0}, {1} … are its arguments."""

from collections.abc import Mapping

_SECOND = "substr({0}, 1, 19)"
_EPOCH_SECONDS = f"CAST(strftime('%s', {_SECOND}) AS INTEGER)"
_BEHIND_COLON = "substr({0}, instr({0}, ':') + 1)"
# SQLite's date functions round to milliseconds, so the fraction of a second is carried over as text. Before 3.46 they
# get one day wrong out of all from year 1 to 9999.
_SHIFTED = f"replace(strftime('%Y-%m-%d %H:%M:%S', {_SECOND}, {{1}}), '0300-02-29', '0300-03-01')"

SPELLINGS: Mapping[str, str] = {
    "BesideKey": "{0}",
    "EndOfUtcDay": "(substr({0}, 1, 10) || ' 23:59:59.999999')",
    "EpochMicroseconds": f"({_EPOCH_SECONDS} * 1000000 + CAST(substr({{0}}, 21, 6) AS INTEGER))",
    "EpochSeconds": _EPOCH_SECONDS,
    "Fits": "({0} GLOB {1})",
    "NotByIndex": "+{0}",
    "NumbersAsRows": "json_each({0})",
    "Position": "instr({0}, {1})",
    "SecondPart": f"substr({_BEHIND_COLON}, 1, instr({_BEHIND_COLON}, ':') - 1)",
    "SecondsAfter": f"coalesce({_SHIFTED} || substr({{0}}, 20), '9999-12-31 23:59:59.999999')",
    "SecondsBefore": f"({_SHIFTED} || substr({{0}}, 20))",
    "StartOfUtcDay": "(substr({0}, 1, 10) || ' 00:00:00.000000')",
    "UtcDay": "substr({0}, 1, 10)",
}
