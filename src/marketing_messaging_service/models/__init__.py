"""The tables, one a file. Importing this package registers all of them on `Base.metadata`."""

from src.marketing_messaging_service.models.batch import Batch
from src.marketing_messaging_service.models.batch_rule import BatchRule
from src.marketing_messaging_service.models.batch_shard import BatchShard
from src.marketing_messaging_service.models.conflict import Conflict
from src.marketing_messaging_service.models.dictionary_entry import DictionaryEntry
from src.marketing_messaging_service.models.ended_wait import EndedWait, WaitOutcome
from src.marketing_messaging_service.models.event import Event
from src.marketing_messaging_service.models.event_properties import EventProperties
from src.marketing_messaging_service.models.event_type import EventType
from src.marketing_messaging_service.models.former_suppression import FormerSuppression
from src.marketing_messaging_service.models.held_event import HeldEvent
from src.marketing_messaging_service.models.left_out_value import LeftOutValue
from src.marketing_messaging_service.models.load import READ_COUNTS, Load, LoadState, takes_whole_file
from src.marketing_messaging_service.models.rejected_row import RejectedRow
from src.marketing_messaging_service.models.replay_count import ReplayCount, ReplayOutcome
from src.marketing_messaging_service.models.ruleset import Ruleset
from src.marketing_messaging_service.models.ruleset_rule import RulesetRule
from src.marketing_messaging_service.models.run import FlowName, Run, RunMode, RunState, takes_everything
from src.marketing_messaging_service.models.run_lease import RunLease
from src.marketing_messaging_service.models.run_remark import RemarkKind, RunRemark
from src.marketing_messaging_service.models.send_request import (
    ALERT_CHANNEL,
    CALENDAR_KEY,
    DAY_KEY,
    EVER_KEY,
    HAS_OTHER_KEY,
    SendRequest,
)
from src.marketing_messaging_service.models.source_file import SourceFile
from src.marketing_messaging_service.models.suppression import Suppression
from src.marketing_messaging_service.models.unknown_key import OTHER_KEYS, UnknownKey
from src.marketing_messaging_service.models.user_traits import UserTraits
from src.marketing_messaging_service.models.waiting_match import WaitingMatch

__all__ = [
    "ALERT_CHANNEL",
    "CALENDAR_KEY",
    "DAY_KEY",
    "EVER_KEY",
    "HAS_OTHER_KEY",
    "OTHER_KEYS",
    "READ_COUNTS",
    "Batch",
    "BatchRule",
    "BatchShard",
    "Conflict",
    "DictionaryEntry",
    "EndedWait",
    "Event",
    "EventProperties",
    "EventType",
    "FlowName",
    "FormerSuppression",
    "HeldEvent",
    "LeftOutValue",
    "Load",
    "LoadState",
    "RejectedRow",
    "RemarkKind",
    "ReplayCount",
    "ReplayOutcome",
    "Ruleset",
    "RulesetRule",
    "Run",
    "RunLease",
    "RunMode",
    "RunRemark",
    "RunState",
    "SendRequest",
    "SourceFile",
    "Suppression",
    "UnknownKey",
    "UserTraits",
    "WaitOutcome",
    "WaitingMatch",
    "takes_everything",
    "takes_whole_file",
]
