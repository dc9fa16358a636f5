"""A reclaim case's three acts, in order (Art. 14): suspend, resume, take back. Every rule is behind a step.

Called by: dispatch, once for each case and run. Must not: wait for a date or a person, or decide what no row says.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from broker.workflows.calls import in_database, tried
    from broker.workflows.case_steps import CaseSteps
    from broker.workflows.orders import CaseOrder

STUCK = "needs_operator"
ENDED = "ended"


@workflow.defn
class Suspend:
    """The objection window is over."""

    @workflow.run
    async def run(self, order: CaseOrder) -> str:
        if not await tried(CaseSteps.measure_again, order):
            return ENDED
        if not await tried(CaseSteps.stop_servers, order):
            return STUCK
        if not await tried(CaseSteps.keep_snapshots, order):
            return STUCK
        return await in_database(CaseSteps.suspended, order)


@workflow.defn
class Resume:
    """A person has decided that the servers are to run again."""

    @workflow.run
    async def run(self, order: CaseOrder) -> str:
        if not await tried(CaseSteps.start_servers, order):
            return STUCK
        if not await tried(CaseSteps.drop_snapshots, order):
            return STUCK
        return await in_database(CaseSteps.resumed, order)


@workflow.defn
class TakeBack:
    """Two people have decided that the resources are to be deleted."""

    @workflow.run
    async def run(self, order: CaseOrder) -> str:
        if not await tried(CaseSteps.look_before_deleting, order):
            return ENDED
        if not await in_database(CaseSteps.case_last_reading, order):
            return ENDED
        if not await tried(CaseSteps.case_delete, order):
            return STUCK
        if not await tried(CaseSteps.drop_snapshots, order):
            return STUCK
        return await in_database(CaseSteps.case_give_back, order)
