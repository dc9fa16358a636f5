"""Samples typed in, and a scan of the store joined with the inventory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.broker.utilisation.files import NOW, hours, row, write_csv
from tests.cli.typist import Typist
from tests.stories.world import World

POLICY = {
    "name": "idle",
    "when": {"all": [{"metric": "cpu_avg_pct", "daily": "mean", "below": 5}]},
    "days": 2,
    "exempt": ["young"],
}


def policy_file(folder: Path, newer_than_days: int) -> str:
    path = folder / "policy.yaml"
    exemptions = [{"name": "young", "reason": "新交付", "newer_than_days": newer_than_days}]
    path.write_text(yaml.safe_dump({"policies": [POLICY], "exemptions": exemptions}))
    return str(path)


def test_a_scan_of_the_store_names_the_resources_of_the_inventory(typist: Typist, world: World, tmp_path: Path) -> None:
    """What is in use is found by its number, with unit and system; what the inventory does not know is passed over."""
    typist.delivered(world)
    listed = typist.does("resources", "--json", as_="audit").json
    server = next(r for r in listed if r["kind"] == "server" and r["state"] == "active")
    start = NOW.replace(year=2025)
    rows = [row(name, hour) for name in (server["number"], "stranger") for hour in hours(start, 96)]
    said = typist.does("utilisation", "import", str(write_csv(tmp_path / "m.csv", rows)), "--json")
    assert (said.json["added"], said.json["resources"]) == (192, 2)
    assert (said.json["unknown"], said.json["unknown_first"]) == (1, ["stranger"])
    found = typist.does("idle", "scan", "--policy", policy_file(tmp_path, 1), "--exempted", "--json")
    (run,) = [json.loads(each) for each in found.out.splitlines()]
    assert (run["resource_id"], run["number"], run["policy"]) == (server["number"], server["number"], "idle")
    assert run["unit"]
    assert run["mlps_level"] in range(1, 6)
    # It was handed over after these days: newer than any number of days, so an exemption for new deliveries covers it.
    assert run["exemption"] == "young"
    assert typist.does("idle", "scan", "--policy", policy_file(tmp_path, 1), "--json").out == ""


def test_a_cloud_is_read_at_once_and_its_standing_told(typist: Typist, world: World) -> None:
    """By hand as in the background; a cloud that is not there is refused, one that does not answer tells why."""
    typist.delivered(world)
    standing = typist.does("utilisation", "collect", "jyt", "--json").json
    row = next(each for each in standing if each["sub_cloud"] == "jyt")
    assert (row["source"], row["error"]) == ("simulated", None)
    assert row["read_until"] == row["outcome"]["to"]
    assert typist.does("utilisation", "status", "--json").json == standing
    assert "模拟云" in typist.does("utilisation", "status").out
    refused = typist.types("utilisation", "collect", "nowhere")
    assert refused.status == 1
    assert "sub_cloud.unknown" in refused.err


def test_what_is_idle_is_detected_listed_and_could_be_smaller(
    typist: Typist, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal: today's detection at once, what it found with reason and cost, and which servers are too large."""
    typist.delivered(world)
    server = next(r for r in typist.does("resources", "--json", as_="audit").json if r["kind"] == "server")
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [row(server["number"], at, vcpu="4", mem_gib="8") for at in hours(end - timedelta(days=35), 24 * 35)]
    typist.does("utilisation", "import", str(write_csv(tmp_path / "m.csv", rows)), "--json")
    policy = tmp_path / "p.yaml"
    policy.write_text(yaml.safe_dump({"version": "cli", "policies": [{**POLICY, "exempt": []}]}))
    monkeypatch.setenv("GUIYUN_IDLE_POLICY_FILE", str(policy))
    done = typist.does("idle", "detect", "--json").json
    assert (done["found"], done["policy_version"]) == (1, "cli")
    assert typist.does("idle", "detect", "--json").json["found"] == 0
    (found,) = typist.does("idle", "list", "--kind", "idle", "--json", as_="audit").json
    assert (found["number"], found["kind"], found["policy"]) == (server["number"], "idle", "idle")
    assert found["monthly_fen"] > 0
    assert "CPU" in typist.does("idle", "list", as_="audit").out
    assert typist.does("idle", "list", "--ended", "--json", as_="audit").json == []
    (smaller,) = [s for s in typist.does("idle", "sizes", "--json").json if s["number"] == server["number"]]
    assert (smaller["to_vcpu"], smaller["to_memory_gib"], smaller["risks"]) == (1, 1, ["low"])
    assert smaller["saved_fen"] > 0
    assert "合计每月节省" in typist.does("idle", "sizes").out
