"""A real S3 server on loopback for tests: SeaweedFS, from a wheel."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from broker.embedded.spawn import spawn, stop, wait_until
from tests.ports import free_ports

KEY, SECRET = "guiyun-test", "nobody-may-see-this"


@contextmanager
def s3_server(home: Path) -> Iterator[str]:
    """Its address. One user may do everything; buckets appear when something is put into them."""
    (home / "data").mkdir()
    user = {"name": "guiyun", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (home / "users.json").write_text(json.dumps({"identities": [user]}))
    options = {"dir": home / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": home / "users.json"}
    options |= {"volume.max": 8, "master.volumeSizeLimitMB": 64, "filer.localSocket": home / "filer.sock"}
    options |= {"s3.localSocket": home / "s3.sock"}
    names = [f"{part}.port{more}" for more in ("", ".grpc") for part in ("master", "volume", "filer", "s3")]
    options |= dict(zip(names, free_ports(len(names)), strict=True))
    options |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
    program = Path(sys.executable).with_name("weed")
    command = [str(program), "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    address = f"http://127.0.0.1:{options['s3.port']}"

    def ready() -> bool:
        try:
            return httpx.get(f"{address}/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    child = spawn(command, log=home / "log", cwd=home)
    try:
        assert wait_until(ready, timeout_s=180), (home / "log").read_text()[-2000:]
        yield address
    finally:
        stop(child, (signal.SIGTERM, 1))
