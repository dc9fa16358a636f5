"""What is idle is found day after day, once each, with reason and cost, and ends when somebody looks and it is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker.utilisation import detection, findings, looking, service, sizing
from broker.utilisation.collectors import Bench
from broker.utilisation.files import Found
from broker.utilisation.findings import Day, Evidence, FindingKind, Seen
from providers.contract import Key, Kind
from tests.broker.utilisation.files import hours, row, write_csv
from tests.stories.detecting import Desk, desk

__all__ = ["desk"]


def test_an_idle_server_is_found_with_its_days_figures_and_cost(desk: Desk, tmp_path: Path) -> None:
    """The run that goes on, since when, by which figures, and what a month of the server costs by the tariff."""
    number = desk.servers[0].number
    desk.measure(number, 9, tmp_path)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.resource_id, found.policy, found.policy_version) == (desk.servers[0].id, "idle", "test-1")
    assert (found.first_day, found.last_day, found.days) == (
        desk.today - timedelta(days=9), desk.today - timedelta(days=1), 9,
    )  # fmt: skip
    assert found.evidence[0].params["metric"] == "cpu_avg_pct"
    assert found.evidence[0].params["greatest"] == 1.5
    assert found.monthly_fen
    assert found.monthly_fen > 1000
    assert found.whole_resource


def test_a_day_is_detected_once_and_the_next_one_goes_on_with_the_same_finding(desk: Desk, tmp_path: Path) -> None:
    """Carried twice it adds nothing; a day later the run is a day longer; busy again, it ends and says so."""
    number = desk.servers[0].number
    desk.measure(number, 6, tmp_path)
    desk.detect()
    first = desk.only(FindingKind.IDLE)
    assert desk.detect()["found"] == 0
    assert desk.only(FindingKind.IDLE) == first
    assert (
        len(desk.world.rows("SELECT FROM broker.idle_finding WHERE cleared_at IS NULL AND found_at IS NOT NULL")) == 1
    )

    desk.world.clock.forward(days=1)
    desk.measure(number, 1, tmp_path)
    desk.detect()
    longer = desk.only(FindingKind.IDLE)
    assert (longer.id, longer.first_day, longer.days) == (first.id, first.first_day, first.days + 1)

    desk.world.clock.forward(days=4)
    desk.measure(number, 4, tmp_path, cpu_avg_pct="40")
    assert desk.detect()["cleared"] == 1
    assert desk.open(FindingKind.IDLE) == []
    assert desk.ended(first) == "in_use"


def test_a_long_run_is_continued_without_reading_all_of_it_again(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time all is read; then the policies' days and a margin; all of it again for a new version."""
    read: list[date | None] = []
    real = service.scan_store

    def scan(*given: Any, first: date | None = None) -> Iterator[Found]:
        read.append(first)
        return real(*given, first=first)

    monkeypatch.setattr(service, "scan_store", scan)
    number, window = desk.servers[0].number, timedelta(days=5) + looking.MARGIN
    desk.measure(number, 40, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    assert (found.days, read) == (40, [desk.today - window, None])

    desk.world.clock.forward(days=1)
    desk.measure(number, 1, tmp_path)
    for _ in range(2):
        read.clear()
        desk.detect()
        longer = desk.only(FindingKind.IDLE)
        assert (longer.id, longer.first_day, longer.days) == (found.id, found.first_day, 41)
        assert read == [desk.today - window]

    desk.policies.write_text(desk.policies.read_text().replace("test-1", "test-2").replace("below: 5", "below: 1.6"))
    desk.detect()
    assert (desk.only(FindingKind.IDLE).days, read[-1]) == (41, None)


def test_a_server_that_a_case_has_suspended_is_neither_idle_nor_off(desk: Desk, tmp_path: Path) -> None:
    """It is off because we stopped it, and its work is not charged: the finding ends, and none begins."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    key = Key(Kind.SERVER, desk.servers[0].id, desk.servers[0].project_id)
    desk.world.app.providers("jyt").power(key, on=False)
    desk.state("stopped")
    desk.measure(desk.servers[0].number, 6, tmp_path, vcpu="0", n_samples="24")
    desk.detect()
    assert desk.ended(found) == "suspended"
    desk.detect(days=2)
    desk.measure(desk.servers[0].number, 9, tmp_path, vcpu="0", n_samples="24")
    desk.detect(days=2)
    assert desk.open(FindingKind.OFF) == desk.open(FindingKind.IDLE) == []
    desk.state("active")
    desk.detect()
    assert desk.only(FindingKind.OFF).resource_id == desk.servers[0].id, "started by nobody, and charged again"
    desk.world.app.providers("jyt").power(key, on=True)


def test_a_run_that_nobody_measures_any_more_ends_as_not_measured(desk: Desk, tmp_path: Path) -> None:
    """Three days late is late; after that nobody can say."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    assert desk.detect(days=2)["going_on"] == 1
    desk.detect(days=2)
    assert desk.ended(found) == "not_measured"


@pytest.mark.parametrize("first", [{}, {"cpu_avg_pct": ""}], ids=["no samples", "without the metric"])
def test_a_gap_is_not_told_as_use(first: dict[str, str], desk: Desk, tmp_path: Path) -> None:
    """A day that nobody measured breaks the run; it is idle on each day that was: nobody says that it is in use."""
    number = desk.servers[0].number
    desk.measure(number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    gap = desk.world.clock() + timedelta(days=1)
    desk.world.clock.forward(days=5)
    if first:
        desk.measure(number, 1, tmp_path, until=gap, **first)
    desk.measure(number, 4, tmp_path)
    desk.detect()
    assert desk.ended(found) == "not_measured"


def test_samples_under_two_names_are_one_server(desk: Desk, tmp_path: Path) -> None:
    """By its number from a collector, by our id from a file: one finding; at work under either name it is at work."""
    server = desk.servers[0]
    desk.measure(server.number, 8, tmp_path)
    desk.measure(str(server.id), 8, tmp_path)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.resource_id, found.days) == (server.id, 8)
    desk.world.clock.forward(days=5)
    desk.measure(server.number, 5, tmp_path)
    desk.measure(str(server.id), 5, tmp_path, cpu_avg_pct="40")
    desk.detect()
    assert (desk.open(FindingKind.IDLE), desk.ended(found)) == ([], "in_use")


def test_two_runs_of_the_last_days_are_one_finding(desk: Desk, tmp_path: Path) -> None:
    """With a policy of one day, idle again after a busy day: the later run is what is found."""
    idle = "idle, kind: server, days: "
    desk.policies.write_text(desk.policies.read_text().replace(f"{idle}5", f"{idle}1"))
    number, now = desk.servers[0].number, desk.world.clock()
    desk.measure(number, 5, tmp_path)
    desk.measure(number, 1, tmp_path, until=now - timedelta(days=1), cpu_avg_pct="60", n_samples="13")
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    assert (found.first_day, found.days) == (desk.today - timedelta(days=1), 1)


def test_what_cannot_be_written_down_stops_nothing_else(desk: Desk) -> None:
    """One resource of which a cloud says what no database takes: the others are found, and it is counted."""
    with desk.world.app.works.begin() as work:
        said = (Evidence("x", {"name": "\0"}), Evidence("x", {}))
        seen = [
            Seen(r.id, FindingKind.OFF, "off", "", desk.today, desk.today, 1, (each,), 1, ripe=True)
            for r, each in zip(desk.servers, said, strict=True)
        ]
        done = findings.record(work, Day(desk.today, "t"), seen, {}, {})
    assert (done.found, done.left) == (1, 1)
    assert desk.only(FindingKind.OFF).resource_id == desk.servers[1].id


def test_a_cloud_that_answers_nonsense_hides_no_other(desk: Desk, tmp_path: Path) -> None:
    """Its adapter breaks: it counts as silent, what was measured is found all the same."""
    desk.measure(desk.servers[0].number, 6, tmp_path)

    def providers(code: str) -> Any:
        if code == "jyt":
            raise ZeroDivisionError
        return desk.world.app.providers(code)

    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    with capture_logs():
        assert detection.detect(Bench(desk.world.app.works, desk.world.app.settings, providers), errand)
    outcome = desk.world.scalar("SELECT outcome FROM broker.idle_scan ORDER BY day DESC LIMIT 1")
    assert (outcome["found"], outcome["silent"]) == (1, ["jyt"])


def test_a_detection_that_breaks_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks it, the row has a code, and it is due again in an hour, not for ever at once."""
    monkeypatch.setattr(looking, "look", lambda *_: 1 / 0)
    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    app = desk.world.app
    with capture_logs() as said:
        assert not detection.detect(Bench(app.works, app.settings, app.providers), errand)
    assert [each["event"] for each in said] == ["not detected"]
    (row,) = desk.world.rows("SELECT error_code, due_at FROM broker.idle_scan ORDER BY day DESC LIMIT 1")
    assert (row.error_code, row.due_at) == ("detection.broken", desk.world.clock() + timedelta(hours=1))


def test_an_exempted_resource_is_not_found_and_one_exempted_later_is_let_go(desk: Desk, tmp_path: Path) -> None:
    """Disaster recovery waits on purpose."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.measure(desk.servers[1].number, 6, tmp_path)
    desk.exempt(desk.servers[0].number)
    assert desk.detect()["found"] == 1
    found = desk.only(FindingKind.IDLE)
    desk.exempt(desk.servers[0].number, desk.servers[1].number)
    desk.detect()
    assert desk.ended(found) == "exempted"


def test_a_policy_that_is_gone_takes_its_findings_with_it(desk: Desk, tmp_path: Path) -> None:
    """And a file that cannot be read changes nothing: the detection is due again."""
    desk.measure(desk.servers[0].number, 6, tmp_path)
    desk.detect()
    found = desk.only(FindingKind.IDLE)
    desk.policies.write_text("policies: [{name: x}]")
    with desk.world.app.works.begin() as work:
        errand = detection.today(work)
    app = desk.world.app
    assert not detection.detect(Bench(app.works, app.settings, app.providers), errand)
    assert desk.world.scalar("SELECT error_code FROM broker.idle_scan ORDER BY day DESC LIMIT 1") == "form.invalid"
    assert desk.only(FindingKind.IDLE) == found
    desk.policies.write_text("version: test-2\npolicies: [{name: off, seen: stopped, days: 3}]")
    desk.detect()
    assert desk.ended(found) == "policy_gone"


def test_right_sizing_goes_by_cores_peaks_and_enough_hours_of_each_figure(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is full at times is kept; what was measured once is unknown; a share of 64 cores is no share of 4.

    A region that is measured in parts, because memory has no room for all of it, is told the same.
    """
    first, second = desk.servers
    spec = desk.world.scalar("SELECT spec FROM broker.resource WHERE id = :id", id=first.id)
    vcpu, memory = spec["vcpu"], spec["memory_gib"]
    held = hours(desk.world.clock().replace(minute=0, second=0, microsecond=0) - timedelta(days=20), 20 * 24)
    little = {"cpu_avg_pct": "10", "cpu_max_pct": "12", "vcpu": str(vcpu)}
    full, once = f"{memory * 0.95}", {"mem_used_gib": ""}
    rows = [row(first.number, at, **little, mem_used_gib=full if n % 25 == 0 else "1") for n, at in enumerate(held)]
    big = {"cpu_avg_pct": "9", "cpu_max_pct": "10", "vcpu": str(vcpu * 8)}
    rows += [
        row(str(second.id), at, **(once if n else {}), **(big if n < 400 else little)) for n, at in enumerate(held)
    ]
    service.import_file(desk.world.app.settings, write_csv(tmp_path / "s.csv", rows), desk.world.clock())
    with desk.world.acting("audit") as work:
        servers = [each for each in sizing.servers_of(work) if each.resource.id in {first.id, second.id}]
    found = {each.resource_id: each for each in sizing.proposals(desk.world.app.settings, servers, desk.world.clock())}
    assert found[first.id].to_memory_gib == memory
    assert found[first.id].to_vcpu < vcpu
    assert second.id not in found, "it needs its cores, and of its memory nothing is known"
    monkeypatch.setattr(sizing, "_AT_ONCE", 1)
    assert sizing.proposals(desk.world.app.settings, servers, desk.world.clock()) == list(found.values())
