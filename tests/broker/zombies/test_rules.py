"""The five signs: monotone in evidence, unknown never raises a score, the order of what was found does not matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.zombies.rules import alike, assess
from broker.zombies.rules_file import DEFAULTS, read_rules
from broker.zombies.values import Level, ServerFacts, Sign, Similar, SystemFacts

RULES = read_rules()
TODAY = date(2026, 11, 25)
past = st.integers(min_value=0, max_value=4000).map(lambda days: TODAY - timedelta(days=days))
days = st.one_of(st.none(), st.integers(min_value=0, max_value=400))
servers = st.builds(ServerFacts, number=st.sampled_from("abcdef"), idle_days=days, off_days=days)
facts = st.builds(
    SystemFacts,
    today=st.just(TODAY),
    frequency=st.sampled_from(["每日", "每年", "停用", "考试季每日", "不定期", "每季度"]),
    scope=st.sampled_from(["全区", "本处室"]),
    ended=st.booleans(),
    reported_on=st.one_of(st.none(), past),
    last_business_on=st.one_of(st.none(), past),
    business_stopped_on=st.one_of(st.none(), past),
    last_maintained_on=st.one_of(st.none(), past),
    maintenance_until=st.one_of(st.none(), past, st.just(TODAY + timedelta(days=90))),
    monthly_users=st.one_of(st.none(), st.integers(min_value=0, max_value=100)),
    replaceable_by=st.one_of(st.none(), st.just("x")),
    similar=st.one_of(st.none(), st.builds(Similar, code=st.just("x"), name=st.just("x"), percent=st.integers(0, 100))),
    last_request_on=st.one_of(st.none(), past),
    servers=st.lists(servers, max_size=5).map(tuple),
)
UNKNOWABLE = (
    "reported_on", "last_business_on", "business_stopped_on", "last_maintained_on", "maintenance_until",
    "monthly_users", "replaceable_by", "similar",
)  # fmt: skip


def score(known: SystemFacts) -> int:
    return assess(known, RULES).score_hundredths


def but(known: SystemFacts, **changes: Any) -> SystemFacts:
    """The same facts but for some."""
    return replace(known, **changes)


@given(facts, st.sampled_from(UNKNOWABLE))
def test_what_is_not_known_never_raises_a_score(known: SystemFacts, name: str) -> None:
    """No data is not "idle": forgetting any fact leaves the score or lowers it."""
    assert score(but(known, **{name: None})) <= score(known)


@given(facts, st.integers(min_value=0, max_value=4))
def test_a_server_that_nobody_measured_never_raises_a_score(known: SystemFacts, place: int) -> None:
    """It counts as one that is not idle, and is named as not measured."""
    if place < len(known.servers):
        unmeasured = replace(known.servers[place], idle_days=None, off_days=None)
        changed = (*known.servers[:place], unmeasured, *known.servers[place + 1 :])
        assert score(replace(known, servers=changed)) <= score(known)


@given(facts, st.sampled_from(["last_business_on", "last_maintained_on", "maintenance_until", "last_request_on"]))
def test_longer_ago_never_lowers_a_score(known: SystemFacts, name: str) -> None:
    """Monotone in every date."""
    day = getattr(known, name)
    if day is not None:
        assert score(but(known, **{name: day - timedelta(days=200)})) >= score(known)


@given(facts, st.integers(min_value=0, max_value=400))
def test_longer_idle_and_fewer_users_never_lower_a_score(known: SystemFacts, more: int) -> None:
    """Monotone in days of idleness and in users."""
    longer = tuple(replace(s, idle_days=None if s.idle_days is None else s.idle_days + more) for s in known.servers)
    assert score(replace(known, servers=longer)) >= score(known)
    if known.monthly_users is not None:
        assert score(replace(known, monthly_users=max(0, known.monthly_users - more))) >= score(known)


@given(facts, st.randoms())
def test_the_order_of_servers_does_not_matter(known: SystemFacts, random: Any) -> None:
    """The same facts in another order are the same facts."""
    shuffled = list(known.servers)
    random.shuffle(shuffled)
    again = assess(replace(known, servers=tuple(shuffled)), RULES)
    assert (again.score_hundredths, again.known, again.level) == (
        score(known), assess(known, RULES).known, assess(known, RULES).level,
    )  # fmt: skip


@given(facts)
def test_a_score_lies_between_nothing_and_all_and_its_level_follows(known: SystemFacts) -> None:
    """Five signs, each at most its weight."""
    found = assess(known, RULES)
    assert 0 <= found.score_hundredths <= 10_000
    assert [each.sign for each in found.signs] == list(Sign)
    assert (found.level is Level.LIKELY) == (found.score_hundredths >= 100 * RULES.likely)
    assert all(each.mass == 0 for each in found.signs if not each.known)


def test_a_system_of_which_nothing_is_known_scores_nothing() -> None:
    """Unknown is an answer: five times."""
    found = assess(SystemFacts(TODAY, frequency="不定期", scope="全区"), RULES)
    assert (found.score_hundredths, found.known, found.level) == (0, 0, Level.NONE)


def test_the_score_can_be_computed_by_hand() -> None:
    """25·100·70 + 15·100·70 + 25·80·90 + 15·100·70 + 20·(100·70 + 100·50)/2, of 10⁶."""
    known = SystemFacts(
        TODAY, frequency="已停用", scope="全区", reported_on=TODAY, business_stopped_on=date(2023, 1, 8),
        replaceable_by="jyt-xjgl", maintenance_until=date(2022, 12, 31), monthly_users=2,
        servers=(ServerFacts("a", idle_days=100), ServerFacts("b", off_days=120)),
    )  # fmt: skip
    found = assess(known, RULES)
    by_hand = 25 * 7000 + 15 * 7000 + 25 * 80 * 90 + 15 * 7000 + 20 * (7000 + 5000) // 2
    assert (found.score_hundredths, found.level, found.known) == (by_hand // 100, Level.LIKELY, 5)


def test_a_request_is_a_sign_of_life() -> None:
    """Who asks for resources last month is in business, whatever was reported before."""
    known = SystemFacts(TODAY, frequency="不定期", scope="全区", last_business_on=date(2022, 1, 1))
    assert score(known) > 0
    assert score(replace(known, last_request_on=date(2026, 11, 1))) == 0


def test_what_stands_out_is_said_and_not_scored() -> None:
    """Seasonal use, a high level, servers without samples: for the person who decides."""
    known = SystemFacts(TODAY, frequency="考试季每日", scope="全区", mlps_level=3, servers=(ServerFacts("a"),))
    assert assess(known, RULES).cautions == ("seasonal", "mlps", "unmeasured")


def test_descriptions_are_compared_by_neighbouring_characters() -> None:
    """Symmetric, whole percent."""
    assert alike("学籍注册、转学", "学籍注册，转学") == 100
    assert alike("学籍注册转学毕业", "雨情水情采集") == 0
    assert alike("", "") == 0


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"out_of_step": 100}},
        {"basis": "Art. 2(5)"},
        {"idle_days": [[30, 60], [20, 80]]},
        {"business_age": [[1, 80], [2, 40]]},
        {"users": [[5, 40], [20, 70]]},
        {"levels": {"likely": 30, "suspected": 60}},
        {"more": 1},
        {"fresh_days": "365"},
        {"confidence": {"reported": 101}},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """A weight too many, a step that falls, a number claimed for an article."""
    raw = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8")) | change
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    with pytest.raises(Invalid) as refused:
        read_rules(path)
    assert {problem.code for problem in refused.value.problems} == {"zombie.rules"}
