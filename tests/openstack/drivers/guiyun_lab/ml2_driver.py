"""Neutron: a port of a server on the fake compute host is bound and ACTIVE at once, without any agent.

Loaded by: neutron-server of the lab, through the entry point beside this package. Must not: touch ports of other hosts,
which belong to the linuxbridge driver.
"""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api

FAKE_HOST = "guiyun-fake"


class FakeHostDriver(api.MechanismDriver):
    """Binds every port of the fake host to the first segment of its network."""

    def initialize(self):
        """Nothing to prepare."""

    @property
    def connectivity(self):
        """What neutron asks of every driver since Ussuri."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        """Bind at once; nothing is plugged anywhere."""
        if context.host != FAKE_HOST or not context.segments_to_bind:
            return
        context.set_binding(
            context.segments_to_bind[0][api.ID],
            portbindings.VIF_TYPE_BRIDGE,
            {portbindings.CAP_PORT_FILTER: True},
            status=constants.PORT_STATUS_ACTIVE,
        )
