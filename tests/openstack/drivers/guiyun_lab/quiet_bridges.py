"""Neutron's linuxbridge agent: the host itself takes no address and no route from the networks whose bridges it holds.

Imported by: the agent's start command in ``up``. Without it the host would believe the lab's router advertisements, and
send its own traffic there.
"""

from pathlib import Path

from neutron.agent.linux import bridge_lib

_add = bridge_lib.BridgeDevice.addbr.__func__


def _add_quiet(cls, name, namespace=None):
    bridge = _add(cls, name, namespace)
    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    return bridge


bridge_lib.BridgeDevice.addbr = classmethod(_add_quiet)
