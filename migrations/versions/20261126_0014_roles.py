"""Roles as rows: the built-in ones with what they allow; accounts hold roles that exist.

Revision 0014, after 0013.
"""

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BUILT_IN = (
    ("admin", "Administrator", "May do everything, always"),
    ("manager", "Manager", "Works with files like a member, sees all accounts and invites people"),
    ("member", "Member", "Stores and shares files"),
    ("guest", "Guest", "Sees and downloads files, changes none"),
)
READING = ("account.read", "account.write", "files.read", "events.read", "jobs.read")
WRITING = (*READING, "files.write", "jobs.write")
MANAGING = (*WRITING, "users.read", "invitations.read", "invitations.write")
HELD = {"guest": READING, "member": WRITING, "manager": MANAGING}  # the administrator's role needs no rows


def upgrade() -> None:
    """Make the tables, fill them, and bind what accounts hold to them."""
    roles = op.create_table(
        "roles",
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("about", sa.String(length=300), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("slug", name=op.f("uq_roles_slug")),
        sa.UniqueConstraint("uuid", name=op.f("uq_roles_uuid")),
    )
    permissions = op.create_table(
        "role_permissions",
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("permission", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(["role"], ["roles.slug"], name=op.f("fk_role_permissions_role_roles"),
                                ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("role", "permission", name=op.f("pk_role_permissions")),
    )  # fmt: skip
    moment = datetime.now(UTC)
    op.bulk_insert(
        roles,
        [
            {"id": number, "uuid": UUID(int=0x0000_0000_0000_7000_8000_0000_0000_0000 + number), "slug": slug,
             "name": name, "about": about, "built_in": True, "created_at": moment,
             "updated_at": moment, "version": 1}
            for number, (slug, name, about) in enumerate(BUILT_IN, 1)
        ],
    )  # fmt: skip
    op.bulk_insert(permissions, [{"role": role, "permission": each} for role, held in HELD.items() for each in held])
    with op.batch_alter_table("user_roles") as table:
        table.create_foreign_key(op.f("fk_user_roles_role_roles"), "roles", ["role"], ["slug"])


def downgrade() -> None:
    """Take all of it back; accounts keep the names of their roles."""
    with op.batch_alter_table("user_roles") as table:
        table.drop_constraint(op.f("fk_user_roles_role_roles"), type_="foreignkey")
    op.drop_table("role_permissions")
    op.drop_table("roles")
