"""What each process is, and when it gave its last sign of life.

Revision 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leases that are held now belong to processes of the former code, which say nothing of themselves."""
    for column in (
        sa.Column("role", sa.String(20), nullable=False, server_default=""),
        sa.Column("version", sa.String(20), nullable=False, server_default=""),
        sa.Column("threads", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("node_leases", column)


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("node_leases") as table:
        for name in ("seen_at_ms", "started_at_ms", "threads", "version", "role"):
            table.drop_column(name)
