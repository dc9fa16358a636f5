"""The steps: the only functions a workflow calls. Each hands over to the room that knows how.

Called by: ``workflows.fulfil``, ``workflows.release``. Must not: hold a rule or an order.

A step on a cloud beats while it works, so that a lost worker is noticed; it says "again" by raising a retryable error
and takes a decision only on its last attempt.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from broker.delivery import begin, handover, provision, routing
from broker.delivery.provision import TryAgainError
from broker.delivery.tools import Pace, Tools
from broker.delivery.values import Plan
from broker.reclamation import steps as reclamation
from broker.workflows.orders import ATTEMPTS, IN_PLACE_S, AnyOrder, Order, pause_s

TRY_AGAIN = "TryAgain"
"""The type of the failure by which a step asks for another attempt."""


class Steps:
    """All steps, with the tools they work with."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    # ---- delivery, in the order of the road
    @activity.defn
    def pin_hold(self, order: Order) -> Plan:
        return begin.pin_hold(self.tools, order.job)

    @activity.defn
    def create_project(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.create_project(self.tools, order.job, pace)

    @activity.defn
    def create_segments(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.create(self.tools, order.job, "segment", pace)

    @activity.defn
    def route_segments(self, order: Order) -> bool:
        with attempt(order) as pace:
            return routing.route(self.tools, order.job, pace)

    @activity.defn
    def verify_segments(self, order: Order) -> bool:
        with attempt(order) as pace:
            return routing.verify(self.tools, order.job, pace)

    @activity.defn
    def create_volumes(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.create(self.tools, order.job, "volume", pace)

    @activity.defn
    def create_servers(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.create(self.tools, order.job, "server", pace)

    @activity.defn
    def attach_volumes(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.attach_volumes(self.tools, order.job, pace)

    @activity.defn
    def configure_guests(self, order: Order) -> bool:
        with attempt(order) as pace:
            return provision.configure(self.tools, order.job, pace)

    @activity.defn
    def undo_failed(self, order: Order) -> bool:
        with attempt(order) as pace:
            return handover.undo_failed(self.tools, order.job, pace)

    @activity.defn
    def hand_over(self, order: Order) -> str:
        return handover.hand_over(self.tools, order.job)

    @activity.defn
    def undo(self, order: Order) -> bool:
        with attempt(order) as pace:
            return handover.undo(self.tools, order.job, pace) == "undone"

    @activity.defn
    def break_off(self, order: Order, step: str) -> None:
        if step == "delete":
            reclamation.break_off(self.tools, order.job)
        else:
            handover.break_off(self.tools, order.job, step)

    # ---- release
    @activity.defn
    def last_reading(self, order: Order) -> bool:
        return reclamation.last_reading(self.tools, order.job)

    @activity.defn
    def delete(self, order: Order) -> bool:
        with attempt(order) as pace:
            return reclamation.delete(self.tools, order.job, pace)

    @activity.defn
    def give_back(self, order: Order) -> str:
        return reclamation.give_back(self.tools, order.job)


@contextmanager
def attempt(order: AnyOrder) -> Iterator[Pace]:
    """One attempt of a step on a cloud: a quick look in place, or one that beats from a thread of its own.

    The beat has a thread because a call to a cloud blocks.
    """
    if activity.info().is_local:
        try:
            yield Pace(beat=lambda: None, in_place=True, deadline_s=IN_PLACE_S)
        except TryAgainError as error:
            raise _again(error, 0) from error
        return
    stop = threading.Event()
    context = contextvars.copy_context()

    def beat() -> None:
        while not stop.wait(order.heartbeat_s / 3):
            context.run(activity.heartbeat)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield Pace(beat=activity.heartbeat, last=activity.info().attempt >= ATTEMPTS)
    except TryAgainError as error:
        raise _again(error, max(error.retry_after_s, pause_s(activity.info().attempt))) from error
    finally:
        stop.set()
        thread.join()


def _again(error: TryAgainError, after_s: float) -> ApplicationError:
    """To the engine a wish for another attempt is a failure, but none that belongs into a log."""
    return ApplicationError(
        error.code,
        type=TRY_AGAIN,
        next_retry_delay=timedelta(seconds=after_s),
        category=ApplicationErrorCategory.BENIGN,
    )
