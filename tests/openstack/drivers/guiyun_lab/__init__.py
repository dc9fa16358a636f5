"""Drivers of the lab for neutron and cinder; loaded by those daemons with Debian's Python, never by Guiyun."""
