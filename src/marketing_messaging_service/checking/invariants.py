"""All that must be true of a database, in the order in which a person should read it."""

from src.marketing_messaging_service.checking.again import AGAIN_INVARIANTS
from src.marketing_messaging_service.checking.batches import BATCH_INVARIANTS
from src.marketing_messaging_service.checking.decisions_made import DECISION_INVARIANTS
from src.marketing_messaging_service.checking.derived import DERIVED_INVARIANTS
from src.marketing_messaging_service.checking.ledger import LEDGER_INVARIANTS
from src.marketing_messaging_service.checking.replays import REPLAY_INVARIANTS
from src.marketing_messaging_service.checking.runs import RUN_INVARIANTS
from src.marketing_messaging_service.checking.schema_made import SCHEMA_INVARIANTS
from src.marketing_messaging_service.checking.structure import STRUCTURE_INVARIANTS
from src.marketing_messaging_service.checking.waits import WAIT_INVARIANTS

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
