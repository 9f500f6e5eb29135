"""Folders in the trash: what went there with a folder remembers which, so that it comes back with it.

Revision 0031, after 0030.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TRASHED = sa.text("deleted_at IS NOT NULL")
WITH = sa.text("trashed_with IS NOT NULL")


def upgrade() -> None:
    """Add the columns and the indexes that lists of the trash and restorations read."""
    for table in ("files", "folders"):
        op.add_column(table, sa.Column("trashed_with", BIG, nullable=True))
        op.create_index(f"ix_{table}_trashed_with", table, ["trashed_with"], sqlite_where=WITH, postgresql_where=WITH)
    op.create_index(
        "ix_folders_trash", "folders", ["owner_id", "deleted_at", "id"], sqlite_where=TRASHED, postgresql_where=TRASHED
    )


def downgrade() -> None:
    """Drop them; what lies in the trash stays there, each by itself."""
    op.drop_index("ix_folders_trash", "folders")
    for table in ("folders", "files"):
        op.drop_index(f"ix_{table}_trashed_with", table)
        op.drop_column(table, "trashed_with")
