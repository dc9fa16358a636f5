"""Watches machine steps live: a bar a step for a person, a line a step for a pipe.

Called by: ``guiyun deliver --watch``, ``guiyun release --watch``, ``guiyun demo``. Must not: order anything.

What is shown is always the state as the server tells it; a change is only the sign to look again. So nothing is missed
when the connection is lost or the watching begins late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from api import texts
from api.cli.client import Api
from api.cli.display import Terminal
from api.cli.refusal import Refusal
from api.texts import names

ON_ITS_WAY = frozenset({"delivering", "releasing"})
_MARKS = {"done": "[green]✓[/]", "failed": "[red]✗[/]", "undone": "[dim]↶[/]", "running": "[cyan]…[/]"}

Shown = Callable[[Mapping[str, Any]], None]


def snapshots(api: Api, request_id: str, *, deadline_s: float = math.inf) -> Iterator[dict[str, Any]]:
    """The request's progress now, and again after every change.

    Raises Unreachable when the broker stays away, Refusal ``watch.deadline`` when the time is over.
    """
    ends_at = time.monotonic() + deadline_s
    for name, data in api.follow(request_id):
        if name == "state":
            yield data
        elif name == "change":
            yield api.progress(request_id)
        if time.monotonic() > ends_at:
            raise Refusal("watch.deadline", f"{deadline_s:.0f} 秒内没有办完。")


def watch(
    api: Api,
    request_id: str,
    show: Shown,
    *,
    subjects: Container[str] | None = None,
    deadline_s: float = math.inf,
) -> dict[str, Any]:
    """Show each snapshot until the machine is through or somebody must act; the last snapshot.

    ``subjects``: only the steps of these deliveries or releases are shown.
    """
    for now in snapshots(api, request_id, deadline_s=deadline_s):
        if subjects is not None:
            now["steps"] = [step for step in now["steps"] if step["subject_id"] in subjects]
        show(now)
        if now["state"] not in ON_ITS_WAY or _stuck(api, now):
            return now
    raise AssertionError("unreachable")


def _stuck(api: Api, now: Mapping[str, Any]) -> bool:
    """Whether a release waits for an operator (the request itself stays ``releasing``)."""
    if now["state"] != "releasing" or not any(step["state"] == "failed" for step in now["steps"]):
        return False
    return any(r["state"] == "needs_operator" for r in api.get(f"/requests/{now['id']}/releases"))


def step_name(step: Mapping[str, Any]) -> str:
    """A step's Chinese name, with its run from the second on."""
    name = names.STEPS.get(step["name"], step["name"])
    return name if step["run"] == 1 else f"{name}（第 {step['run']} 次）"


def trouble(step: Mapping[str, Any]) -> str:
    """Why a step failed, in words."""
    return "；".join(texts.trouble(code) for code in step["detail"].split())


def _key(step: Mapping[str, Any]) -> tuple[str, int, str]:
    return step["subject_id"], step["run"], step["name"]


@dataclass
class Lines:
    """For a pipe and a log: one line when a step ends. Steps that had ended before are told as well."""

    terminal: Terminal
    indent: str = ""
    _told: set[Any] = field(default_factory=set)

    def __call__(self, now: Mapping[str, Any]) -> None:
        for step in now["steps"]:
            key = (*_key(step), step["state"])
            if step["state"] != "running" and key not in self._told:
                self._told.add(key)
                why = f"：{trouble(step)}" if step["state"] == "failed" else ""
                self.terminal.console.print(f"{self.indent}{_MARKS[step['state']]} {step_name(step)}{why}")


@dataclass
class Bars:
    """For a person: a bar for each step, moving while it runs."""

    progress: Progress
    _bars: dict[Any, TaskID] = field(default_factory=dict)

    def __call__(self, now: Mapping[str, Any]) -> None:
        for step in now["steps"]:
            key, running = _key(step), step["state"] == "running"
            why = f" {trouble(step)}" if step["state"] == "failed" else ""
            words = f"{_MARKS[step['state']]} {step_name(step)}{why}"
            if key not in self._bars:
                self._bars[key] = self.progress.add_task(words, total=None)
            bar = self._bars[key]
            self.progress.update(bar, description=words)
            if not running:
                self.progress.update(bar, total=1, completed=1)
                self.progress.stop_task(bar)


@contextmanager
def watcher(terminal: Terminal, indent: str = "") -> Iterator[Shown]:
    """Bars at a terminal, lines elsewhere."""
    if not terminal.interactive:
        yield Lines(terminal, indent)
        return
    columns = (TextColumn(indent + "{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console) as progress:
        yield Bars(progress)
