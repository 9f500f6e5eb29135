"""Who acts as somebody else: the session that theirs hangs on, and their name beside the other in the audit trail.

Revision 0023, after 0022.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns."""
    op.add_column("sessions", sa.Column("parent_id", BIG, nullable=True))
    op.add_column("audit_entries", sa.Column("impersonator_id", BIG, nullable=True))
    op.add_column("audit_entries", sa.Column("token_id", BIG, nullable=True))


def downgrade() -> None:
    """Drop them; sessions that hang on another end, so that nobody goes on as somebody else."""
    op.execute("UPDATE sessions SET deleted_at = updated_at WHERE parent_id IS NOT NULL AND deleted_at IS NULL")
    for column in ("token_id", "impersonator_id"):  # a batch copies the table without its triggers
        op.drop_column("audit_entries", column)
    op.drop_column("sessions", "parent_id")
