"""The file that names each sub-cloud's Prometheus: every problem at once, no token in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.utilisation.telemetry_file import read_telemetry
from broker.utilisation.values import Unreadable

GOOD = """
collectors:
  - sub_cloud: main
    prometheus: http://127.0.0.1:9090
    label: instance_id
    step_seconds: 60
    token: env:GUIYUN_TEST_TOKEN
    queries:
      cpu_pct: 100 * rate(cpu_seconds_total[5m])
"""


def test_a_sub_cloud_has_its_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of metrics are the operator's; the token comes from the environment."""
    monkeypatch.setenv("GUIYUN_TEST_TOKEN", "do-not-tell")
    (tmp_path / "t.yaml").write_text(GOOD)
    (code, source), *others = read_telemetry(tmp_path / "t.yaml").items()
    assert (code, source.url, source.label, source.step_s, others) == (
        "main",
        "http://127.0.0.1:9090",
        "instance_id",
        60,
        [],
    )
    assert (source.token, source.queries) == ("do-not-tell", {"cpu_pct": "100 * rate(cpu_seconds_total[5m])"})
    assert read_telemetry(None) == {}


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """With its place in the file."""
    (tmp_path / "t.yaml").write_text("""
collectors:
  - {sub_cloud: main, prometheus: "ftp://x", label: "a-b", step_seconds: 5, token: secret, que: 1,
     queries: {cpu: up, net_kbps: ""}}
  - {sub_cloud: main, prometheus: "http://x", label: a, token: "env:GUIYUN_NO_SUCH", queries: {}}
  - text
""")
    with pytest.raises(Unreadable) as refused:
        read_telemetry(tmp_path / "t.yaml")
    assert {(problem.code, problem.field) for problem in refused.value.problems} == {
        ("telemetry.unknown_field", "collectors[0].que"),
        ("telemetry.url", "collectors[0].prometheus"),
        ("telemetry.label", "collectors[0].label"),
        ("telemetry.step", "collectors[0].step_seconds"),
        ("telemetry.token", "collectors[0].token"),
        ("telemetry.figure", "collectors[0].queries.cpu"),
        ("telemetry.query", "collectors[0].queries.net_kbps"),
        ("telemetry.sub_cloud", "collectors[1].sub_cloud"),
        ("telemetry.token_missing", "collectors[1].token"),
        ("telemetry.queries", "collectors[1].queries"),
        ("telemetry.shape", "collectors[2]"),
    }
    assert not any("secret" in str(problem) for problem in refused.value.problems)
