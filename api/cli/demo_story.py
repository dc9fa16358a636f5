"""Tells a demonstration as it happens, and ends it at the first thing that is not what it should be.

Called by: ``guiyun demo`` and its road. Must not: act.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from api import texts
from api.cli.display import Terminal, indented
from api.cli.refusal import Refusal
from api.cli.watching import Shown, watcher


class NotAsItShouldBe(Refusal):
    """A step of the demonstration went wrong."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__("demo.failed", f"“{step}”：{reason}")


@dataclass
class Story:
    """What was shown so far. Silent while the result is wanted as JSON."""

    terminal: Terminal
    silent: bool
    steps: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str, *, who: str = "", rule: str = "") -> Iterator[dict[str, Any]]:
        """One step: who does what by which rule. Yields the step's facts, to be filled for the JSON.

        A refusal within it ends the demonstration with the step's name.
        """
        facts: dict[str, Any] = {}
        self.steps.append({"step": name, "who": who, "rule": rule, "ok": False, "facts": facts})
        rule_in_words = texts.article(rule)
        head = Text.assemble((f"{len(self.steps)}. {name}", "bold"), f"  {who}" if who else "")
        head.append(f"  {rule_in_words}" if rule_in_words else "", "dim")
        self.say("", head, indent="")
        try:
            yield facts
        except NotAsItShouldBe:
            raise
        except Refusal as refusal:
            raise NotAsItShouldBe(name, f"{refusal.code} {refusal.message}") from refusal
        self.steps[-1]["ok"] = True

    def say(self, *things: RenderableType, indent: str = "   ") -> None:
        """What came of it."""
        if self.silent:
            return
        for thing in things:
            self.terminal.say(indented(thing, len(indent)))

    def check(self, fact: object, reason: str) -> None:
        """Raises NotAsItShouldBe unless the fact holds."""
        if not fact:
            raise NotAsItShouldBe(self.steps[-1]["step"] if self.steps else "准备", reason)

    def refused(self, refusal: Refusal, code: str) -> None:
        """A refusal that is meant to come: with its code, and shown in words."""
        self.check(code in refusal.codes, f"应以 {code} 拒绝，实际为 {'、'.join(sorted(refusal.codes))}")
        mistake = next((m for m in refusal.mistakes if m.code == code), None)
        article = texts.article(mistake.article) if mistake else ""
        self.say(f"拒绝：{mistake.message if mistake else refusal.message}{f'（{article}）' if article else ''}")

    @contextmanager
    def watching(self) -> Iterator[Shown]:
        """Something that shows live progress."""
        if self.silent:
            yield lambda _: None
            return
        with watcher(self.terminal, "   ") as show:
            yield show

    def answer(self, **more: Any) -> Mapping[str, Any]:
        """The whole story as JSON."""
        seconds = round(time.monotonic() - self.began, 1)
        return {"ok": all(step["ok"] for step in self.steps), **more, "seconds": seconds, "steps": self.steps}
