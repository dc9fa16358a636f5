"""Every verb that shows something shows the same as JSON that programs read, and prints plain lines into a pipe."""

from __future__ import annotations

from datetime import datetime

import pytest

from api.cli.display import ZONE
from tests.cli.typist import Typist
from tests.stories.world import World

LOOKING = [
    ("list", "apply.jyt"),
    ("resources", "apply.jyt"),
    ("clouds", "finance"),
    ("systems", "admin"),
    ("statements", "finance"),
    ("notices", "apply.jyt"),
    ("whoami", "approve.2"),
    ("desk", "deliver.jyt"),
]


@pytest.mark.parametrize(("verb", "who"), LOOKING)
def test_what_is_looked_up_comes_as_text_and_as_json(typist: Typist, world: World, verb: str, who: str) -> None:
    """Text without markup, colours or spaces at the ends of lines; JSON that parses and is not empty."""
    if verb in {"list", "resources", "notices"} and not typist.does(verb, "--json", as_=who).json:
        typist.delivered(world)
    text = typist.does(verb, as_=who).out
    assert "\x1b" not in text
    assert text.strip()
    assert all(line == line.rstrip() for line in text.splitlines())
    assert typist.does(verb, "--json", as_=who).out.startswith(("[", "{"))
    typist.does(verb, "--json", as_=who).json  # noqa: B018 - it parses


def test_many_entries_come_over_several_pages(typist: Typist) -> None:
    """--limit counts entries, not pages."""
    for _ in range(3):
        typist.applies()
    found = typist.does("list", "--limit", "2", "--json", as_="apply.jyt").json
    assert len(found) == 2
    units = typist.does("systems", "--limit", "1000", "--json", as_="admin").json
    assert len({system["code"] for system in units}) == len(units) >= 9


def test_notices_are_marked_as_read(typist: Typist) -> None:
    """--read marks what was listed; --unread then has nothing."""
    number = typist.applies()
    typist.does("return", number, "--reason", "请补充", as_="approve.jyt")
    assert number in typist.does("notices", "--unread", as_="apply.jyt").out
    typist.does("notices", "--read", "--limit", "1000", as_="apply.jyt")
    assert typist.does("notices", "--unread", as_="apply.jyt").out == "没有通知。\n"


def test_a_statement_is_shown_line_by_line(typist: Typist, world: World) -> None:
    """By its short name from the list; the lines add up."""
    month = datetime.now(ZONE).strftime("%Y-%m")
    typist.metered(world, month)
    made = typist.does("bill", "issue", month, "--json").json
    listed = typist.does("statements", as_="finance").out
    short = made[0]["id"][-8:]
    assert short in listed
    assert "试算账单" in listed
    shown = typist.does("statements", short, as_="finance").out
    assert "明细" in shown
    whole = typist.does("statements", made[0]["id"], "--json", as_="finance").json
    # An objection names its line by this number.
    assert all(f"\n{line['id']} " in shown or f" {line['id']} " in shown for line in whole["lines"])
    assert all("E" not in line["price_cny"] for line in whole["lines"])
    assert whole["total_fen"] == sum(line["amount_fen"] for line in whole["lines"])
    assert typist.refused("statements", "00000000", as_="finance").startswith("statement.unknown：")
