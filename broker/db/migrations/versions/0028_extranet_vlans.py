"""Segments by VLAN beside VXLAN, and how hosts get their addresses: as each segment was attached."""

from __future__ import annotations

from alembic import op

revision = "0028_extranet_vlans"
down_revision = "0026d_system_moves"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(_CHANGES)


_CHANGES = """
ALTER TABLE broker.segment_attachment
  ADD COLUMN encapsulation VARCHAR NOT NULL DEFAULT 'vxlan',
  ADD COLUMN addressing VARCHAR NOT NULL DEFAULT 'slaac',
  DROP CONSTRAINT ck_segment_attachment_vni,
  ADD CONSTRAINT ck_segment_attachment_vni
    CHECK (vni BETWEEN 1 AND CASE encapsulation WHEN 'vlan' THEN 4094 ELSE 16777215 END),
  ADD CONSTRAINT ck_segment_attachment_encapsulation CHECK (encapsulation IN ('vxlan', 'vlan')),
  ADD CONSTRAINT ck_segment_attachment_addressing CHECK (addressing IN ('slaac', 'dhcpv6'));
ALTER TABLE broker.segment_attachment ALTER COLUMN encapsulation DROP DEFAULT, ALTER COLUMN addressing DROP DEFAULT;
DROP INDEX broker.ux_segment_attachment_vni;
CREATE UNIQUE INDEX ux_segment_attachment_vni ON broker.segment_attachment (vni)
  WHERE withdrawn_at IS NULL AND encapsulation = 'vxlan';
CREATE UNIQUE INDEX ux_segment_attachment_vlan ON broker.segment_attachment (router, vni)
  WHERE withdrawn_at IS NULL AND encapsulation = 'vlan';
"""
