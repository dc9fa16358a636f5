"""The steps of measuring. Each hands over to ``utilisation`` or ``zombies``, which write down what came of it.

Called by: ``workflows.measure``. Must not: hold a rule or an order.
"""

from __future__ import annotations

from temporalio import activity

from broker.delivery.tools import Tools
from broker.utilisation import collectors, detection
from broker.utilisation.collectors import Bench
from broker.workflows.orders import MeasureOrder
from broker.workflows.steps import attempt
from broker.zombies import forgetting, nightly


class MeasureSteps:
    """All steps, with the tools they work with."""

    def __init__(self, tools: Tools) -> None:
        self.bench = Bench(tools.works, tools.settings, tools.providers)

    @activity.defn
    def collect(self, order: MeasureOrder) -> bool:
        with attempt(order):
            return collectors.collect(self.bench, order.job)

    @activity.defn
    def detect(self, order: MeasureOrder) -> bool:
        with attempt(order):
            return detection.detect(self.bench, order.job)

    @activity.defn
    def look_for_zombies(self, order: MeasureOrder) -> int:
        with attempt(order):
            proposed = nightly.carry(self.bench.works, self.bench.settings)
            forgetting.forget(self.bench.works, self.bench.settings)
            return proposed
