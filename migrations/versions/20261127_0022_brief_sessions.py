"""Sign-ins that a browser was not to keep end sooner when nobody uses them.

Revision 0022, after 0021.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those of before count as kept."""
    op.add_column("sessions", sa.Column("brief", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("sessions", "brief")
