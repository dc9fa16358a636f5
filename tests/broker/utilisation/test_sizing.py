"""A smaller size is one that is enough by the p95s with head-room, never a larger one, and its risk is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.utilisation.sizing import (
    CPU_AVG_SHARE,
    CPU_MAX_SHARE,
    LEAST_HOURS,
    MEMORY_PEAK_SHARE,
    MEMORY_SHARE,
    Needs,
    Risk,
    propose,
    risks_of,
)

PCT = st.floats(0, 120)
MEMORY = st.tuples(st.floats(0, 700), st.floats(0, 700)) | st.none()
"""The p95 of memory, and the most."""


@given(st.integers(1, 200), st.integers(1, 600), PCT, PCT | st.none(), MEMORY)
def test_a_proposal_is_smaller_and_enough(
    vcpu: int, memory: int, mean: float, greatest: float | None, memory_used: tuple[float, float] | None
) -> None:
    """Whatever was measured: neither part grows, one shrinks, and what shrinks keeps its head-room."""
    used, most = memory_used or (None, None)
    needs = Needs(LEAST_HOURS, mean, greatest, greatest, used, most)
    found = propose(vcpu, memory, needs)
    if found is None:
        return
    to_vcpu, to_memory = found
    assert 1 <= to_vcpu <= vcpu
    assert 1 <= to_memory <= memory
    assert (to_vcpu, to_memory) != (vcpu, memory)
    if to_vcpu < vcpu:
        assert vcpu * mean / 100 <= to_vcpu * CPU_AVG_SHARE + 0.001
        assert vcpu * (greatest or 0) / 100 <= to_vcpu * CPU_MAX_SHARE + 0.001
    if to_memory < memory:
        assert used is not None
        assert most is not None
        assert used <= to_memory * MEMORY_SHARE + 0.001
        assert most <= to_memory * MEMORY_PEAK_SHARE + 0.001


def test_two_weeks_must_have_been_measured() -> None:
    """A quiet week says nothing of a month."""
    assert propose(8, 16, Needs(LEAST_HOURS - 1, 1, 2, 3, 1)) is None
    assert propose(8, 16, Needs(LEAST_HOURS, None, None, None, 1)) is None
    assert propose(8, 16, Needs(LEAST_HOURS, 1, 2, 3, 1)) == (1, 2)


def test_what_was_not_measured_stays() -> None:
    """And the proposal says so."""
    needs = Needs(LEAST_HOURS, 10, 15, 20, None)
    assert propose(8, 16, needs) == (2, 16)
    assert risks_of(8, (2, 16), needs) == (Risk.MEMORY_UNKNOWN,)


def test_peaks_above_the_smaller_size_are_told() -> None:
    """The p95 fits; the busiest hour of the month does not."""
    assert risks_of(8, (2, 2), Needs(LEAST_HOURS, 10, 15, 80, 1)) == (Risk.PEAKS,)
    assert risks_of(8, (2, 2), Needs(LEAST_HOURS, 10, 15, 25, 1)) == (Risk.LOW,)
    assert risks_of(8, (2, 2), Needs(LEAST_HOURS, 10, None, None, 1)) == (Risk.PEAKS_UNKNOWN,)
    assert risks_of(8, (2, 64), Needs(LEAST_HOURS, 10, 15, 20, 1, 57)) == (Risk.MEMORY_PEAKS,)
