"""The steps of a reclaim case. Each hands over to ``reclamation.case_steps``.

Called by: ``workflows.reclaim``. Must not: hold a rule or an order.
"""

from __future__ import annotations

from temporalio import activity

from broker.delivery.tools import Tools
from broker.reclamation import case_steps as cases
from broker.workflows.orders import CaseOrder
from broker.workflows.steps import attempt


class CaseSteps:
    """All steps, with the tools they work with."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    # ---- suspending
    @activity.defn
    def measure_again(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.measure_again(self.tools, order.job, pace)

    @activity.defn
    def stop_servers(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.stop_servers(self.tools, order.job, pace)

    @activity.defn
    def keep_snapshots(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.keep_snapshots(self.tools, order.job, pace)

    @activity.defn
    def suspended(self, order: CaseOrder) -> str:
        return cases.suspended(self.tools, order.job)

    # ---- resuming
    @activity.defn
    def start_servers(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.start_servers(self.tools, order.job, pace)

    @activity.defn
    def drop_snapshots(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.drop_snapshots(self.tools, order.job, pace)

    @activity.defn
    def resumed(self, order: CaseOrder) -> str:
        return cases.resumed(self.tools, order.job)

    # ---- releasing
    @activity.defn
    def look_before_deleting(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.look_before_deleting(self.tools, order.job, pace)

    @activity.defn
    def case_last_reading(self, order: CaseOrder) -> bool:
        return cases.last_reading(self.tools, order.job)

    @activity.defn
    def case_delete(self, order: CaseOrder) -> bool:
        with attempt(order) as pace:
            return cases.delete(self.tools, order.job, pace)

    @activity.defn
    def case_give_back(self, order: CaseOrder) -> str:
        return cases.give_back(self.tools, order.job)

    @activity.defn
    def break_case_off(self, order: CaseOrder, step: str) -> None:
        cases.break_off(self.tools, order.job, step)
