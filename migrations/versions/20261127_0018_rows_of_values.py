"""Encrypted values are bound to their rows: mails get a column for what they say, the ids of keys in use a table.

Revision 0018, after 0017.
"""

import base64
import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

ENCRYPTED = (
    ("webhooks", "secret"), ("webhooks", "former_secret"), ("sessions", "address"), ("sessions", "agent"),
    ("identities", "subject"), ("identities", "email"), ("oidc_visits", "sealed"), ("data_exports", "content"),
    ("idempotency_keys", "body"), ("jobs", "sealed"), ("audit_chain", "key"),
)  # fmt: skip


def upgrade() -> None:
    """Copy what mails say out of their arguments, where an earlier version goes on reading it; note the keys in use."""
    op.add_column("jobs", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    keys = op.create_table(
        "encryption_keys",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encryption_keys")),
    )
    connection = op.get_bind()
    mails = connection.execute(sa.text("SELECT id, args FROM jobs WHERE name = 'mails.send'")).all()
    for number, args in mails:
        sealed = (json.loads(args) if isinstance(args, str) else args or {}).get("sealed")
        if sealed:
            connection.execute(sa.text("UPDATE jobs SET sealed = :sealed WHERE id = :id"),
                               {"sealed": base64.b64decode(sealed), "id": number})  # fmt: skip
    found = set()
    for table, column in ENCRYPTED:
        ids = sa.text(f"SELECT DISTINCT substr({column}, 1, 4) FROM {table} WHERE {column} IS NOT NULL")
        found |= {bytes(value).hex() for value in connection.execute(ids).scalars()}
    for key_id in sorted(found):
        connection.execute(sa.insert(keys).values(id=key_id, created_at=datetime.now(UTC)))


def downgrade() -> None:
    """Drop both. Values that were written or re-encrypted since then cannot be read by the version before."""
    op.drop_table("encryption_keys")
    op.drop_column("jobs", "sealed")
