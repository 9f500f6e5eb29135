"""Indexes for the filters of the audit trail.

Revision 0024, after 0023.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_audit_entries_event", "audit_entries", ["event", "id"])
    op.create_index("ix_audit_entries_request", "audit_entries", ["request_id", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_audit_entries_request", "audit_entries")
    op.drop_index("ix_audit_entries_event", "audit_entries")
