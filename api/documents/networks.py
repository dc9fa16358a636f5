"""The files of dedicated networks: the template to fill in, and the list as it is, as Excel and CSV.

Called by: the API, the console. Must not: decide who sees what. What is written here is read back without a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from api import formats
from api.documents import sheets
from api.texts import dedicated as words
from broker.dedicated.board import Listed
from broker.dedicated.entry import READ, REQUIRED, NetworkEntry

_WIDE = {"name": 24, "purpose": 36, "coverage": 28, "grounds": 24, "systems": 28, "unit_name": 24}


def template(folder: Path, form: str) -> Path:
    """A file with the headings; as Excel with a second sheet that explains them. Raises Invalid ``file.form``."""
    sheet = sheets.Sheet(words.EXPORT_NAME, words.HEADINGS, REQUIRED, _WIDE, words.HINTS)
    return sheets.write(folder.joinpath(f"{words.TEMPLATE_NAME}.{form}"), sheet, [])


def export(folder: Path, form: str, rows: Iterable[Listed]) -> Path:
    """The list. ``rows``: of ``board.everything``. Raises Invalid ``file.form``."""
    headings = {**words.HEADINGS, **words.SHOWN_ONLY}
    sheet = sheets.Sheet(words.EXPORT_NAME, headings, REQUIRED, _WIDE)
    cells = [[_shown(listed)[name] for name in headings] for listed in rows]
    return sheets.write(folder.joinpath(f"{words.EXPORT_NAME}.{form}"), sheet, cells)


def _shown(listed: Listed) -> Mapping[str, str]:
    due = listed.progress.due.get(listed.next) if listed.next is not None else None
    stop = listed.stop.stopped_at if listed.stop is not None else None
    return texts_of(listed.entry) | {
        "unit_name": listed.unit_name,
        "state": words.STATES[listed.next or "closed"],
        "due_on": due.isoformat() if due else "",
        "stopped": formats.when(stop) if stop else "",
    }


def texts_of(entry: NetworkEntry) -> dict[str, str]:
    """An entry as a form and a file show it: text that is read back as it was."""
    shown = {name: getattr(entry, name) for name in READ}
    shown["classified"] = "是" if entry.classified else "否"
    shown["yearly_cost_fen"] = f"{entry.yearly_cost_fen // 100}.{entry.yearly_cost_fen % 100:02d}"
    shown["level"] = words.LEVELS[entry.level]
    shown["systems"] = "，".join(entry.systems)
    return {name: "" if value is None else str(value) for name, value in shown.items()}
