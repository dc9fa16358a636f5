"""Ports for programs that tests start: taken from where the system gives none away by itself.

Called by: tests whose program needs seconds until it listens. Must not: be used where a program can take port 0.

A port that was only looked at is anybody's until the program has it. The system picks ports for sockets without one
from its ephemeral range, and does so all the time beside us; here two can only meet who both look here, and each test
process begins at a place of its own.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST, LAST = 20_000, 32_000
"""Below every system's ephemeral range (Linux: 32768 and up)."""
_NEXT = itertools.count((os.getpid() * 37) % (LAST - FIRST))


def free_ports(count: int) -> list[int]:
    """As many ports of 127.0.0.1 that nobody listens on, each another one."""
    found: list[int] = []
    while len(found) < count:
        candidate = FIRST + next(_NEXT) % (LAST - FIRST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
