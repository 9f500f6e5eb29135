"""Names of versions, and an index of placements by when they ended: what changed since an instant.

Revision 0027, after 0026.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("file_versions", sa.Column("label", sa.String(100), nullable=True))
    op.add_column("file_versions", sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")))
    ended = sa.text("valid_to IS NOT NULL")
    op.create_index(
        "ix_placements_closed", "placements", ["owner_id", "valid_to"], sqlite_where=ended, postgresql_where=ended
    )


def downgrade() -> None:
    """Drop them; names of versions are lost."""
    op.drop_index("ix_placements_closed", "placements")
    op.drop_column("file_versions", "version")
    op.drop_column("file_versions", "label")
