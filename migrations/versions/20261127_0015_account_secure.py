"""Changing how one proves who one is: a permission of its own, held by every role that changed it before.

Revision 0015, after 0014.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give it to whoever holds account.write."""
    op.execute(
        "INSERT INTO role_permissions (role, permission)"
        " SELECT role, 'account.secure' FROM role_permissions WHERE permission = 'account.write'"
    )


def downgrade() -> None:
    """Take it back."""
    op.execute("DELETE FROM role_permissions WHERE permission = 'account.secure'")
