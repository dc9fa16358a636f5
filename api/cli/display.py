"""How the command line shows things: money, times, tables; plain and unfolded when the output is piped.

Called by: the verbs. Must not: ask the broker, or decide what is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from api.texts import names

ZONE = ZoneInfo("Asia/Shanghai")
PIPED_WIDTH = 2000
"""Wide enough that nothing is folded: what reads a pipe wants one line a row."""

LISTED_CHARACTERS = 40
SHOWN = 20
"""Mistakes that a person is shown; ``--json`` lists them."""

_COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("delivered", "active", "done", "approve", "confirm", "approved", "assessed"), "green"),
    **dict.fromkeys(("delivering", "running", "queued", "building", "releasing", "submitted", "asked"), "cyan"),
    **dict.fromkeys(("needs_operator", "returned", "partly_delivered", "return", "expired"), "yellow"),
    **dict.fromkeys(("refused", "refuse", "failed", "undelivered"), "red"),
    **dict.fromkeys(("released", "withdrawn", "undone", "draft", "planned"), "dim"),
}


class Terminal:
    """Standard output: coloured and as wide as the window for a person, plain lines for a pipe."""

    def __init__(self) -> None:
        self.interactive = sys.stdout.isatty()
        width = None if self.interactive else PIPED_WIDTH
        self.console = Console(highlight=False, width=width, no_color=not self.interactive, emoji=False)

    def say(self, *things: RenderableType) -> None:
        """Print each thing, without spaces at the ends of lines."""
        for thing in things:
            if self.interactive:
                self.console.print(thing)
                continue
            with self.console.capture() as captured:
                self.console.print(thing)
            sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def section(self, title: str, *things: RenderableType) -> None:
        """A titled part, after an empty line."""
        self.say("", Text(title, "bold"), *things)

    def json(self, data: Any) -> None:
        """The data as JSON that programs read."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2 if self.interactive else None) + "\n")


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[RenderableType | None]],
    *,
    right: Sequence[str] = (),
    folds: Sequence[str] = (),
) -> Table:
    """Aligned columns without lines. Columns in ``right`` hold numbers; those in ``folds`` give way."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for header in headers:
        made.add_column(
            header,
            justify="right" if header in right else "left",
            no_wrap=header not in folds,
            overflow="fold" if header in folds else "ellipsis",
        )
    for row in rows:
        made.add_row(*("—" if cell in (None, "") else cell for cell in row))
    return made


def fields(pairs: Iterable[tuple[str, RenderableType | None]]) -> Table:
    """Names and values, one pair a line; what has no value is left out."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, ""):
            made.add_row(name, value)
    return made


def indented(thing: RenderableType, by: int = 2) -> Padding:
    """The same, some columns to the right, folded lines as well."""
    return Padding(thing, (0, 0, 0, by))


def shortened(text: str) -> str:
    """The beginning of a long text, on one line: what a list has room for."""
    line = " ".join(text.split())
    return line if len(line) <= LISTED_CHARACTERS else f"{line[: LISTED_CHARACTERS - 1]}…"


def yuan(fen: int) -> str:
    """Fen as yuan: ``12,345.60 元``."""
    sign = "-" if fen < 0 else ""
    whole, rest = divmod(abs(fen), 100)
    return f"{sign}{whole:,}.{rest:02d} 元"


def price(text: str) -> str:
    """A price in yuan without the zeros at its end."""
    return f"{Decimal(text).normalize():,f}"


def moment(iso: str | None) -> str:
    """An instant of the API in Guangxi's time: ``2026-11-23 17:30``."""
    return datetime.fromisoformat(iso).astimezone(ZONE).strftime("%Y-%m-%d %H:%M") if iso else ""


def instant(iso: str | None) -> str:
    """The same with seconds."""
    return datetime.fromisoformat(iso).astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S") if iso else ""


def state(word: str, table_of_names: Mapping[str, str]) -> Text:
    """A state by its Chinese name, in its colour."""
    return Text(table_of_names.get(word, word), _COLOURS.get(word, ""))


def size(kind: str, spec: Mapping[str, Any]) -> str:
    """What one piece of an item or resource is: ``4 核 8 GiB，系统盘 40 GiB``."""
    if kind == "server":
        disks = "".join(f"，数据盘 {d['size_gib']} GiB" for d in spec.get("data_disks", ()))
        system = f"，系统盘 {spec['system_disk_gib']} GiB" if "system_disk_gib" in spec else ""
        return f"{spec['vcpu']} 核 {spec['memory_gib']} GiB{system}{disks}，{spec['image']}"
    if kind == "volume":
        return f"{spec['size_gib']} GiB {spec['block_class'].upper()}"
    return names.ZONES.get(str(spec.get("zone")), str(spec.get("zone", "")))


def more(total: int) -> str:
    """That there are more mistakes than a person is shown, before another sentence; else nothing."""
    return f"共 {total} 处有误，以上为前 {SHOWN} 处，--json 逐项列出；" if total > SHOWN else ""
