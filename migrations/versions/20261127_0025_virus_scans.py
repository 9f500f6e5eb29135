"""When the virus scanner last looked at stored bytes, and what it found.

Revision 0025, after 0024.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing was scanned so far. Few contents are infected: their list has an index of its own."""
    op.add_column("blobs", sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("blobs", sa.Column("infected_with", sa.String(200), nullable=True))
    where = sa.text("infected_with IS NOT NULL")
    op.create_index("ix_blobs_infected", "blobs", ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Drop them: what was quarantined is open again."""
    op.drop_index("ix_blobs_infected", "blobs")
    op.drop_column("blobs", "infected_with")
    op.drop_column("blobs", "scanned_at")
