"""All that must be true of a database, in the order in which a person should read it."""

from src.marketing_messaging_service.self_check.again import AGAIN_INVARIANTS
from src.marketing_messaging_service.self_check.batches import BATCH_INVARIANTS
from src.marketing_messaging_service.self_check.decisions_made import DECISION_INVARIANTS
from src.marketing_messaging_service.self_check.derived import DERIVED_INVARIANTS
from src.marketing_messaging_service.self_check.ledger import LEDGER_INVARIANTS
from src.marketing_messaging_service.self_check.replays import REPLAY_INVARIANTS
from src.marketing_messaging_service.self_check.runs import RUN_INVARIANTS
from src.marketing_messaging_service.self_check.schema_made import SCHEMA_INVARIANTS
from src.marketing_messaging_service.self_check.structure import STRUCTURE_INVARIANTS
from src.marketing_messaging_service.self_check.waits import WAIT_INVARIANTS

INVARIANTS = (
    *STRUCTURE_INVARIANTS,
    *SCHEMA_INVARIANTS,
    *LEDGER_INVARIANTS,
    *REPLAY_INVARIANTS,
    *DERIVED_INVARIANTS,
    *RUN_INVARIANTS,
    *BATCH_INVARIANTS,
    *DECISION_INVARIANTS,
    *AGAIN_INVARIANTS,
    *WAIT_INVARIANTS,
)
