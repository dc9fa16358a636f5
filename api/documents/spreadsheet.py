"""Text in a CSV file that a person opens in a spreadsheet: never a formula.

Called by: the writers of such files. Must not: be used where a program reads the bytes (FOCUS, ``lines.csv`` of
``guiyun rate``, an audit export): there a cell is what it is, see ``docs/decisions/0010-what-payers-see.md``.
"""

from __future__ import annotations

from broker.inventory.sheets import FORMULA_STARTS


def text(cell: str) -> str:
    """The cell; one that a spreadsheet would take for a formula gets an apostrophe, which says that it is text."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
