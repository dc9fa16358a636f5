"""Samples out of a real Prometheus (Debian's), filled by ``promtool`` with series made up for the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from broker.utilisation.prometheus import PrometheusSource, read
from providers.errors import Permanent, Temporary
from tests.ports import free_port

pytestmark = pytest.mark.prometheus

START = (datetime.now(UTC) - timedelta(days=2)).replace(hour=3, minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
QUERIES = {
    "cpu_pct": "100 * rate(vm_cpu_seconds_total[10m]) / vm_cores",
    "mem_used_gib": "vm_memory_bytes / 2^30",
    "off": "1 - vm_up",
    "vcpu": "vm_cores * (vm_up > 0)",
}


def samples() -> Iterator[str]:
    """Two servers a minute by minute for three hours: one uses 0.2 of its two cores, the other is off from hour 2."""
    lines: dict[str, list[str]] = {"vm_cpu_seconds_total": [], "vm_cores": [], "vm_memory_bytes": [], "vm_up": []}
    for minute in range(-15, 180):
        at = START.timestamp() + 60 * minute
        for name, off in (("a", False), ("b", minute >= 120)):
            of = f'{{vm="{name}"}}'
            lines["vm_up"].append(f"vm_up{of} {0 if off else 1} {at:.0f}")
            lines["vm_cores"].append(f"vm_cores{of} 2 {at:.0f}")
            if not off:
                lines["vm_cpu_seconds_total"].append(f"vm_cpu_seconds_total{of} {(minute + 15) * 12} {at:.0f}")
                lines["vm_memory_bytes"].append(f"vm_memory_bytes{of} {2**30} {at:.0f}")
    kinds = {"vm_cpu_seconds_total": "counter"}
    for name, series in lines.items():
        yield f"# TYPE {name.removesuffix('_total')} {kinds.get(name, 'gauge')}"
        yield from series
    yield "# EOF"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus on loopback with these samples; it scrapes nobody."""
    home = tmp_path_factory.mktemp("prometheus")
    (home / "samples.txt").write_text("\n".join(samples()) + "\n")
    (home / "prometheus.yml").write_text("global: {}\n")
    promtool, server = shutil.which("promtool"), shutil.which("prometheus")
    assert promtool
    assert server
    fill = [promtool, "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(fill, check=True, capture_output=True, cwd=home)
    port = free_port()
    command = [server, f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 180
        while True:
            try:
                if httpx.get(f"{url}/-/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
        child.terminate()


def source(url: str, **changes: object) -> PrometheusSource:
    made: dict[str, object] = {"url": url, "label": "vm", "queries": QUERIES} | changes
    return PrometheusSource(**made)  # type: ignore[arg-type]


def test_prometheus_adds_up_whole_hours(prometheus: str) -> None:
    """Mean, greatest and number of the steps of each hour, each step in one hour only."""
    rows = {(row["vm_id"], row["hour_utc"]): row for row in read(source(prometheus), START, START + 3 * HOUR)}
    assert len(rows) == 6
    written = [f"{START + HOUR * n:%Y-%m-%dT%HZ}" for n in range(3)]
    steady = rows["a", written[1]]
    assert float(steady["cpu_avg_pct"]) == pytest.approx(10)
    assert float(steady["cpu_max_pct"]) == pytest.approx(10)
    assert (steady["n_samples"], steady["n_off"], steady["vcpu"]) == ("12", "0", "2")
    assert float(steady["mem_used_gib"]) == 1
    off = rows["b", written[2]]
    assert (off["n_samples"], off["n_off"]) == ("12", "12")
    assert "vcpu" not in off, "what is off has no core; the collector writes that down"


def test_a_window_without_samples_is_empty(prometheus: str) -> None:
    """Nobody measured then; that is no error."""
    assert list(read(source(prometheus), START - 9 * HOUR, START - 6 * HOUR)) == []


def test_a_query_that_is_wrong_says_what_prometheus_said(prometheus: str) -> None:
    """It will not get better by being tried again."""
    with pytest.raises(Permanent) as refused:
        list(read(source(prometheus, queries={"cpu_pct": "rate("}), START, START + HOUR))
    assert refused.value.code == "prometheus.query_refused"
    assert "parse error" in refused.value.detail


def test_a_prometheus_that_does_not_answer_is_asked_again_later() -> None:
    """As a cloud would be."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(Temporary):
            list(read(source(url), START, START + HOUR))
