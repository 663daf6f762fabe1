"""First deliveries are distinguished from repeated ones, whatever the hashes do."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.loading import first_deliveries
from src.marketing_messaging_service.loading.first_deliveries import FirstDeliveries

few_ids = st.lists(st.sampled_from(["a", "b", "c", "", "é", "e\u0301", "A", "a ", "\0"]), max_size=8)


def told_by_a_set(known: Sequence[str], chunks: Sequence[Sequence[str]]) -> list[list[bool]]:
    """Which of these message ids were not there before."""
    seen = set(known)
    told = []
    for chunk in chunks:
        told.append([message_id not in {*seen, *chunk[:place]} for place, message_id in enumerate(chunk)])
        seen.update(chunk)
    return told


@pytest.mark.parametrize("hash_bits", [32, 1, 0])
@given(known=few_ids.map(lambda ids: sorted(set(ids))), chunks=st.lists(few_ids, max_size=4))
def test_they_are_those_that_a_set_of_all_would_tell(hash_bits, known, chunks):
    real = first_deliveries._hashes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_deliveries, "_hashes", lambda ids: real(ids) & np.uint32((1 << hash_bits) - 1))
        deliveries = FirstDeliveries(lambda: [known[:1], known[1:]], chunks, most_count=64)
        assert [deliveries.are_first(pa.array(chunk, pa.string())).tolist() for chunk in chunks] == told_by_a_set(
            known, chunks
        )


def test_only_repeated_ones_are_remembered_by_their_text():
    deliveries = FirstDeliveries(lambda: [["k1", "k2"]], [["k2", "n1", "n2", "n1"]], most_count=6)
    deliveries.are_first(pa.array(["k2", "n1", "n2", "n1"]))
    assert deliveries._seen == {"k2", "n1"}


def test_it_cannot_tell_when_too_many_are_repeated_to_be_remembered(monkeypatch):
    monkeypatch.setattr(first_deliveries, "MOST_REPEATED", 2)
    assert FirstDeliveries(list, [["a", "b", "a", "b", "c"]], most_count=6).can_tell
    assert not FirstDeliveries(list, [["a", "b", "c", "a", "b", "c"]], most_count=6).can_tell
