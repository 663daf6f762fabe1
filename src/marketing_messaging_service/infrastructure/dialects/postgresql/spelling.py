"""PostgreSQL's text of each function; {0}, {1} … are its arguments."""

from collections.abc import Mapping

SPELLINGS: Mapping[str, str] = {
    "BesideKey": "coalesce({0}, {0})",
    "EndOfUtcDay": "(date_trunc('day', {0}) + interval '1 day' - interval '1 microsecond')",
    "EpochMicroseconds": "CAST(EXTRACT(EPOCH FROM {0}) * 1000000 AS bigint)",
    "EpochSeconds": "CAST(floor(EXTRACT(EPOCH FROM {0})) AS bigint)",
    "Fits": "({0} ~ {2})",
    "HexNumber": "CAST(CAST('x' || {0} AS bit(32)) AS bigint)",
    "NotByIndex": "{0}",
    "NumbersAsRows": "(SELECT unnest(CAST(translate({0}, '[]', '{{}}') AS bigint[])) AS value)",
    "Position": "strpos({0}, {1})",
    "SecondPart": "split_part({0}, ':', 2)",
    "SecondsAfter": "least({0} + CAST({1} AS interval), timestamp '9999-12-31 23:59:59.999999')",
    "SecondsBefore": "({0} + CAST({1} AS interval))",
    "StartOfUtcDay": "date_trunc('day', {0})",
    "UtcDay": "to_char({0}, 'YYYY-MM-DD')",
}
