"""The register's files: the template to fill in, and the register as it is, as Excel and CSV.

Called by: the API, the console. Must not: let text become a formula, or decide who sees what.
What is written here can be read back by the import without a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from api import formats
from api.documents import sheets
from api.texts import register as words
from broker.db.base import AnyRow
from broker.inventory.register import entry_of_row
from broker.inventory.system_entry import REQUIRED

FORMS = sheets.FORMS
_WIDE = {"function": 36, "name": 24, "growth_reason": 36, "ended_reason": 24, "scope_of_use": 20, "unit_name": 24}


def template(folder: Path, form: str) -> Path:
    """A file with the headings; as Excel with a second sheet that explains them. Raises Invalid ``file.form``."""
    return _write(folder.joinpath(f"{words.TEMPLATE_NAME}.{form}"), list(words.HEADINGS), [], explain=True)


def export(folder: Path, form: str, rows: Iterable[AnyRow]) -> Path:
    """The register. ``rows``: of ``systems.everything``. Raises Invalid ``file.form``."""
    names = [*words.HEADINGS, *words.SHOWN_ONLY]
    return _write(
        folder.joinpath(f"{words.EXPORT_NAME}.{form}"), names, [_cells(row, names) for row in rows], explain=False
    )


def _cells(row: AnyRow, names: Sequence[str]) -> list[str]:
    system, entry = row[0], entry_of_row(row)
    shown: dict[str, Any] = {name: getattr(entry, name, "") for name in names}
    shown |= {
        "merges": "",
        "unit_name": row.unit_name or "",
        "state": words.STATES["in_use" if system.retired_at is None else "ended"],
        "registered_at": formats.when(system.registered_at),
        "ended_kind": words.ENDINGS.get(system.ended_kind or "", ""),
        "retired_at": formats.when(system.retired_at) if system.retired_at else "",
        "ended_reason": system.ended_reason or "",
    }
    return [_text(shown[name]) for name in names]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], *, explain: bool) -> Path:
    headings = {**words.HEADINGS, **words.SHOWN_ONLY}
    marked = {name: headings[name] for name in names}
    hints = words.HINTS if explain else {}
    return sheets.write(path, sheets.Sheet(words.EXPORT_NAME, marked, REQUIRED, _WIDE, hints), rows)
