"""The broker that a demonstration runs against: the one of this home, or one of its own in a temporary home.

Called by: ``guiyun demo``. Must not: touch a home that is not for demonstrations, or leave anything behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import api
from api.cli.db import load_region
from api.cli.home import DEMONSTRATION_MARK, running
from api.cli.refusal import Refusal
from api.cli.up import answers
from broker.db.migrate import upgrade
from broker.embedded.postgres import EmbeddedPostgres
from broker.embedded.spawn import free_port, wait_until
from broker.region.reading import DEMONSTRATION, read_region

START_S = 180.0
STOP_S = 60.0

LABORATORY_CLOUD = "main-lab"
"""The main cloud under a name of the demonstration's own: others may use the same laboratory."""
LABORATORY_LEFT_OUT = ("router", "guest_reachable", "ssh_sources")
"""Nobody signs in to these servers: they need no way out of their network."""
LABORATORY_PREFIXES = {"shared": "3fff:500::/24", "private": "3fff:600::/24", "internet": "3fff:700::/24"}


def running_demonstration(home: Path) -> bool:
    """Whether a broker with demonstration accounts runs in this home and answers."""
    url = running(home).get("GUIYUN_URL", "")
    return bool(url) and (home / DEMONSTRATION_MARK).exists() and answers(f"{url}/readyz")


@contextmanager
def temporary_broker(prepare: bool = False) -> Iterator[Path]:  # noqa: FBT001, FBT002 - read at its one call
    """A broker of one's own on free ports; yields its home. ``prepare``: its main cloud is the OpenStack laboratory.

    It is stopped at the end and its home removed; after a failure the logs stay, and are named.
    Raises Refusal ``demo.no_broker`` when it does not come up, ``demo.no_laboratory`` without a laboratory.
    """
    home = Path(tempfile.mkdtemp(prefix="guiyun-demo-"))
    kept = home / "logs"
    try:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GUIYUN_")}
        if prepare:
            environment["GUIYUN_CLOUDS_FILE"] = str(_prepare_laboratory(home))
        with _up(home, environment):
            yield home
    except BaseException:
        _keep_logs(home, kept)
        raise
    shutil.rmtree(home, ignore_errors=True)


def _keep_logs(home: Path, logs: Path) -> None:
    """Everything goes but the logs: credentials and data do not lie about."""
    for entry in home.iterdir():
        if entry != logs:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    sys.stderr.write(f"日志保留在 {logs}\n")


@contextmanager
def _up(home: Path, environment: Mapping[str, str]) -> Iterator[None]:
    (home / "logs").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "api.cli.main", "up", "--home", str(home), "--port", str(free_port())]
    with (home / "logs" / "up.log").open("wb") as log:
        # A session of its own: Ctrl-C ends the demonstration first, and the demonstration ends the broker.
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        came = wait_until(lambda: process.poll() is not None or _ready(home), timeout_s=START_S)
        if not came or process.poll() is not None:
            last = (home / "logs" / "up.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise Refusal("demo.no_broker", f"临时的桂云没有启动：{' '.join(last) or '原因不明'}")
        yield
    finally:
        _stop(process)


def _ready(home: Path) -> bool:
    url = running(home).get("GUIYUN_URL")
    return url is not None and answers(f"{url}/readyz")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def laboratory_options() -> dict[str, str]:
    """What ``make openstack`` wrote down for the adapter. Raises Refusal ``demo.no_laboratory``."""
    root = Path(api.__file__).parent.parent
    home = Path(os.environ.get("GUIYUN_OPENSTACK_HOME") or root / ".openstack")
    try:
        found: dict[str, str] = json.loads((home / "adapter.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("demo.no_laboratory", f"{home} 中没有 OpenStack 试验环境；请先 make openstack。") from error
    return {name: value for name, value in found.items() if name not in LABORATORY_LEFT_OUT}


def laboratory_region(folder: Path) -> Path:
    """The demonstration region with its main cloud in the laboratory: a file beside copies of the tables."""
    for table in DEMONSTRATION.parent.glob("*.csv"):
        shutil.copy(table, folder / table.name)
    raw: dict[str, Any] = yaml.safe_load(DEMONSTRATION.read_text(encoding="utf-8"))
    main = next(cloud for cloud in raw["sub_clouds"] if cloud["code"] == "main")
    main |= {"code": LABORATORY_CLOUD, "provider": "openstack", "options": {}, "options_ref": LABORATORY_CLOUD}
    for rule in [*raw["home_clouds"], *raw["quotas"]]:
        if rule.get("cloud") == "main":
            rule["cloud"] = LABORATORY_CLOUD
    for zone in raw["ipv6"]["zones"]:
        zone["prefix"] = LABORATORY_PREFIXES[zone["zone"]]
    file = folder / "region.yaml"
    file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


def _prepare_laboratory(home: Path) -> Path:
    """Load the region before anything starts, so that the worker serves its clouds; returns the clouds file (0600)."""
    clouds = home / "clouds.yaml"
    clouds.touch(mode=0o600)
    clouds.write_text(yaml.safe_dump({LABORATORY_CLOUD: laboratory_options()}), encoding="utf-8")
    (home / DEMONSTRATION_MARK).touch()
    region = read_region(laboratory_region(home))
    with EmbeddedPostgres(home / "postgres", log=home / "logs" / "postgres.log") as postgres:
        upgrade(postgres.owner_url())
        load_region(postgres.owner_url(), region, demonstration=True)
    return clouds
