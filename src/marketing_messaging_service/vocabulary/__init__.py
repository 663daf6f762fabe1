"""The records that the other rooms iterate over: fields and their kinds, operators, reason codes and so on.

Each kind of thing that the product grows by is a list of records here, with everything that any room needs to know;
none is listed a second time anywhere.
"""

from src.marketing_messaging_service.vocabulary.data_types import DataType
from src.marketing_messaging_service.vocabulary.delivery_keys import DELIVERY_KEYS
from src.marketing_messaging_service.vocabulary.derived_field import Field, Kind
from src.marketing_messaging_service.vocabulary.fields_of_models import (
    PAYLOAD,
    PROPERTIES,
    TRAITS,
    Part,
    Payload,
    payload_of,
)
from src.marketing_messaging_service.vocabulary.invariant import Invariant
from src.marketing_messaging_service.vocabulary.kinds import KINDS, UnfitValueError, data_type_of
from src.marketing_messaging_service.vocabulary.once_modes import SuppressionMode
from src.marketing_messaging_service.vocabulary.operators import Operand, Operator, Takes
from src.marketing_messaging_service.vocabulary.periods import Period
from src.marketing_messaging_service.vocabulary.reason_codes import ReasonCode
from src.marketing_messaging_service.vocabulary.run_endings import RunEnding
from src.marketing_messaging_service.vocabulary.suppression_reasons import REASONS_SENTENCE, SuppressionReason

__all__ = [
    "DELIVERY_KEYS",
    "KINDS",
    "PAYLOAD",
    "PROPERTIES",
    "REASONS_SENTENCE",
    "TRAITS",
    "DataType",
    "Field",
    "Invariant",
    "Kind",
    "Operand",
    "Operator",
    "Part",
    "Payload",
    "Period",
    "ReasonCode",
    "RunEnding",
    "SuppressionMode",
    "SuppressionReason",
    "Takes",
    "UnfitValueError",
    "data_type_of",
    "payload_of",
]
