"""Until when each administrator was told by digests; an index that lists mails.

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
MAILS = sa.text("name = 'mails.send'")


def upgrade() -> None:
    """Make both."""
    op.create_table(
        "digests",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("told_until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_digests_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_digests")),
    )
    op.create_index("ix_jobs_mails", "jobs", ["id"], sqlite_where=MAILS, postgresql_where=MAILS)


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_jobs_mails", table_name="jobs")
    op.drop_table("digests")
