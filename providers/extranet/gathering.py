"""What many ask for at once is carried out in one run: while one is on its way, the next one gathers.

Called by: ``providers.extranet.provider``. Must not: know routers, or wait for company (a database's group commit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from providers.errors import UnknownOutcome

A = TypeVar("A")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[A, R]):
    asked: A
    answer: R | None = None
    error: BaseException | None = None
    done: bool = False


@dataclass(slots=True)
class Gathering(Generic[A, R]):
    """``carry`` answers to several at once, in their order; ``most`` of them in one run."""

    carry: Callable[[Sequence[A]], Sequence[R]]
    most: int
    _waiting: list[_Waiting[A, R]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _turn: Lock = field(default_factory=Lock)

    def all(self, asked: Sequence[A]) -> list[R]:
        """The answers to ``asked``, in their order; raises what a run that carried one of them raised."""
        mine: list[_Waiting[A, R]] = [_Waiting(one) for one in asked]
        with self._lock:
            self._waiting.extend(mine)
        while not all(one.done for one in mine):
            with self._turn:
                if not all(one.done for one in mine):
                    self._run()
        for one in mine:
            if one.error is not None:
                raise one.error
        return [one.answer for one in mine]  # type: ignore[misc]  # done without an error: there is an answer

    def _run(self) -> None:
        """Carry what has gathered; everybody in it is done afterwards, one way or the other."""
        with self._lock:
            batch, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
        try:
            for one, answer in zip(batch, self.carry([w.asked for w in batch]), strict=True):
                one.answer = answer
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who is in the run
            for one in batch:
                one.error = error
        except BaseException:  # Ctrl-C is for the thread that carries; the others only know that nobody knows
            for one in batch:
                one.error = UnknownOutcome("extranet.interrupted")
            raise
        finally:
            for one in batch:
                one.done = True
