"""Amounts of money as people type them.

Called by: the verbs about money. Must not: let a float come near.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import typer

from broker.pricing.rules import LIMIT_FEN


def parse_yuan(words: str) -> int:
    """An amount in yuan, as fen: never through a float."""
    try:
        fen = Decimal(words.replace(",", "")) * 100
    except InvalidOperation as error:
        raise typer.BadParameter("应为金额（元）") from error
    if not fen.is_finite() or fen != int(fen) or abs(fen) > LIMIT_FEN:
        raise typer.BadParameter("应为精确到分的金额（元）")
    return int(fen)
