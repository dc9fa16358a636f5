"""How values look, and how a form's fields become its JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api import formats, texts
from api.console import fields, show

NOW = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fen", "shown"),
    [(0, "0.00"), (5, "0.05"), (123456, "1,234.56"), (-7, "-0.07"), (10**15 + 1, "10,000,000,000,000.01")],
)
def test_fen_are_shown_as_yuan_with_two_decimals_and_without_a_float(fen: int, shown: str) -> None:
    """No digit is lost, however large the sum."""
    assert formats.yuan(fen) == shown


def test_times_are_shown_in_shanghai() -> None:
    """UTC in the database, Asia/Shanghai on the page."""
    assert formats.when(NOW) == "2026-03-02 09:30"
    assert formats.when("2026-03-01T18:00:00Z") == "2026-03-02 02:00"
    assert show.day(datetime(2026, 3, 1, 17, 0, tzinfo=UTC)) == "2026-03-02"


@pytest.mark.parametrize(
    ("left", "kind"), [(timedelta(minutes=-1), "late"), (timedelta(hours=1), "soon"), (timedelta(days=2), "ahead")]
)
def test_a_deadline_says_whether_it_is_late(left: timedelta, kind: str) -> None:
    """Late ones are marked, soon ones too."""
    found = show.due(NOW + left, NOW)
    assert found is not None
    assert found["kind"] == kind


def test_a_rule_without_an_article_is_called_ours() -> None:
    """A false article is worse than none."""
    assert show.article("") == "自定规则"
    assert show.article("Art. 16(2)") == "《实施细则》第十六条第（二）项"


def test_fields_become_the_forms_json_with_gaps_closed_and_text_kept() -> None:
    """Numbers are numbers, what is none stays text, lists follow their numbers and not their order of arrival."""
    raw = fields.read(
        [
            ("items[10].kind", "volume"),
            ("items[2].kind", "server"),
            ("items[2].vcpu", "4"),
            ("items[2].memory_gib", "八"),
            ("items[2].data_disks[3].size_gib", "100"),
            ("contact.name", " 韦海燕 "),
            ("classified", "false"),
            ("purpose", ""),
            ("csrf_token", "secret"),
        ]
    )
    assert raw == {
        "items": [
            {"kind": "server", "vcpu": 4, "memory_gib": "八", "data_disks": [{"size_gib": 100}]},
            {"kind": "volume"},
        ],
        "contact": {"name": "韦海燕"},
        "classified": False,
    }


@pytest.mark.parametrize(
    "pairs",
    [
        [("items", "text")],
        [("items.x", "1")],
        [("items[0]", "text")],
        [("items[0].kind", "server"), ("items[0]", "text")],
        [("contact", "text"), ("contact.name", "x")],
        [("items[0].data_disks", "x"), ("items[0].kind", "server")],
    ],
)
def test_fields_of_a_strange_shape_do_no_harm(pairs: list[tuple[str, str]]) -> None:
    """Whatever a program sends, the page can be shown."""
    page = fields.for_page(fields.read(pairs))
    assert isinstance(page["items"], list)
    assert page["contact"]["name"] in (None, "x")


def test_candidates_that_fail_for_the_same_reasons_are_told_together() -> None:
    """Every candidate is named, every reason once a group."""
    no = {"filter": "home", "passed": False, "code": "home.city_cloud_of_others", "article": "Art. 16(2)", "params": {}}
    other = no | {"code": "home.industry_cloud_of_others", "article": "Art. 2(2)"}
    groups = show.turned_down(
        [
            {"name": "甲", "passed": False, "verdicts": [no]},
            {"name": "乙", "passed": False, "verdicts": [other]},
            {"name": "丙", "passed": False, "verdicts": [no]},
            {"name": "丁", "passed": True, "verdicts": []},
        ]
    )
    assert [g["names"] for g in groups] == [["甲", "丙"], ["乙"]]


def test_a_notice_shows_its_deadline_in_shanghai() -> None:
    """No machine's notation on a page."""
    params = {"number": "GX-2026-000001", "stage": "approval", "due_at": "2026-03-02T09:30:00.123456+00:00"}
    assert "2026-03-02 17:30" in show.notice("clock.late", params)


@pytest.mark.parametrize("code", ["refused", "needs_operator", "partly_delivered", "undelivered"])
def test_what_a_failed_step_says_is_chinese(code: str) -> None:
    """A cloud's refusal, or what became of the delivery: never a bare code on a page or at a terminal."""
    assert texts.trouble(code) != code
