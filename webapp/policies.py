"""Every permission, which built-in roles hold it at first, and the actor who is asked for it.

What a role holds now stands in its rows (models/roles.py); a permission added here needs its rows from a migration.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from uuid import UUID

from webapp.errors import Refused, Unauthenticated

MEMBER, MANAGER, ADMIN, GUEST = "member", "manager", "admin", "guest"

# permission: (what it allows, built-in roles that hold it at first)
PERMISSIONS: dict[str, tuple[str, frozenset[str]]] = {
    "account.read": ("See one's own profile and sessions", frozenset({GUEST, MEMBER, MANAGER, ADMIN})),
    "account.write": ("Change one's own profile and end sessions", frozenset({GUEST, MEMBER, MANAGER, ADMIN})),
    "account.secure": (
        "Change password and address, take one's data away, leave",
        frozenset({GUEST, MEMBER, MANAGER, ADMIN}),
    ),
    "files.read": ("List and download files", frozenset({GUEST, MEMBER, MANAGER, ADMIN})),
    "files.write": ("Upload, change, trash and restore files and folders", frozenset({MEMBER, MANAGER, ADMIN})),
    "files.share": ("Let others see and change one's files and folders", frozenset({MEMBER, MANAGER, ADMIN})),
    "events.read": ("Hear what happens to one's own jobs and files", frozenset({GUEST, MEMBER, MANAGER, ADMIN})),
    "jobs.read": ("See the jobs of one's own files", frozenset({GUEST, MEMBER, MANAGER, ADMIN})),
    "roles.read": ("See roles and what they allow", frozenset({ADMIN})),
    "roles.write": ("Make, change and remove roles, never beyond what one may do oneself", frozenset({ADMIN})),
    "health.read": ("See the condition of the vault and its servers", frozenset({ADMIN})),
    "health.write": ("Empty caches", frozenset({ADMIN})),
    "schedules.read": ("See when upkeep and other recurring jobs run", frozenset({ADMIN})),
    "schedules.write": ("Change, pause and run schedules", frozenset({ADMIN})),
    "jobs.write": ("Replay and cancel one's own jobs", frozenset({MEMBER, MANAGER, ADMIN})),
    "queues.read": ("See everybody's jobs, the queues and what went wrong in them", frozenset({ADMIN})),
    "queues.write": ("Replay, cancel and discard anybody's jobs, also all that match", frozenset({ADMIN})),
    "settings.read": ("See the settings of the vault", frozenset({ADMIN})),
    "settings.write": ("Change the settings of the vault", frozenset({ADMIN})),
    "flags.read": ("See which features are on, and for whom", frozenset({ADMIN})),
    "flags.write": ("Switch features on and off", frozenset({ADMIN})),
    "mails.read": ("See how mail is sent and what became of it", frozenset({ADMIN})),
    "mails.write": ("Send a test mail to oneself", frozenset({ADMIN})),
    "users.read": ("See all accounts, their roles and sign-ins", frozenset({MANAGER, ADMIN})),
    "users.write": ("Make, change, suspend, restore and delete accounts, end their sessions", frozenset({ADMIN})),
    "users.impersonate": ("Act as somebody else for half an hour, for a reason that is told", frozenset({ADMIN})),
    "invitations.read": ("See who is invited", frozenset({MANAGER, ADMIN})),
    "invitations.write": ("Invite people, with roles that allow no more than one's own", frozenset({MANAGER, ADMIN})),
    "groups.read": ("See all groups and who is in them", frozenset({MANAGER, ADMIN})),
    "groups.write": ("Make, change and remove groups, and say who is in any", frozenset({ADMIN})),
    "vault.read": ("See everybody's files and folders", frozenset({ADMIN})),
    "vault.write": ("Change and share everybody's files and folders", frozenset({ADMIN})),
    "audit.read": ("See and take away the audit trail: who did what", frozenset({ADMIN})),
    "audit.write": ("Have the audit trail checked", frozenset({ADMIN})),
    "shares.read": ("See everybody's public links", frozenset({ADMIN})),
    "shares.write": ("Revoke and revive everybody's public links", frozenset({ADMIN})),
    "webhooks.read": ("See webhooks, what they were sent and what they answered", frozenset({ADMIN})),
    "webhooks.write": ("Make, change, pause and replay webhooks", frozenset({ADMIN})),
}


class Level(IntEnum):
    """What somebody may do with one file or folder; each includes those before it. Nobody is granted to be owner."""

    NONE, VIEWER, EDITOR, MANAGER, OWNER = range(5)


# permission: the level that it needs on the object itself
NEEDED = {"files.read": Level.VIEWER, "files.write": Level.EDITOR, "files.share": Level.MANAGER}

# What no personal token may do: prove who one is, act as others, and keep a stream open, which ends with a session.
NO_SCOPES = frozenset({"account.secure", "events.read", "users.impersonate"})
SCOPES = frozenset(PERMISSIONS) - NO_SCOPES
# Permissions that reach nothing of anybody else: whoever makes an account gives them away without holding them.
OWN_AFFAIRS = frozenset({"account.secure", "events.read"})
# What nobody may do who acts as somebody else: prove who that is, go on to a third person, see or exchange secrets.
NOT_ACTING = frozenset({"account.secure", "users.impersonate", "webhooks.write"})

# slug: (name, what it is for)
BUILT_IN: dict[str, tuple[str, str]] = {
    ADMIN: ("Administrator", "May do everything, always"),
    MANAGER: ("Manager", "Works with files like a member, sees all accounts and invites people"),
    MEMBER: ("Member", "Stores and shares files"),
    GUEST: ("Guest", "Sees and downloads files, changes none"),
}


def default_permissions(role: str) -> frozenset[str]:
    """What a built-in role holds at first."""
    return frozenset(name for name, (_, holders) in PERMISSIONS.items() if role in holders)


def permissions_of(roles: frozenset[str], held: Iterable[str] = ()) -> frozenset[str]:
    """What these roles allow whose rows hold these permissions; an administrator may everything, whatever the rows."""
    return frozenset(PERMISSIONS) if ADMIN in roles else frozenset(held) & PERMISSIONS.keys()


@dataclass(frozen=True, slots=True)
class Impersonator:
    """Who really acts while somebody acts as another person, and until when."""

    id: int
    uuid: UUID
    email: str
    name: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, from where, in which request: all that a service knows of its caller."""

    id: int
    uuid: UUID
    email: str
    name: str
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    groups: frozenset[int] = frozenset()  # internal ids of the living groups they are in
    session_id: int | None = None
    locale: str | None = None
    time_zone: str | None = None
    address: str | None = None
    agent: str | None = None
    request_id: str | None = None
    token_id: int | None = None  # of the personal token that asks
    root: int | None = None  # internal id of the folder that a token is limited to
    impersonator: Impersonator | None = None
    scopes: frozenset[str] | None = field(default=None)  # None: all that the roles allow
    proven_at: datetime | None = None  # when the session's owner last showed who they are,
    second_factor: bool = False  # whether by more than a password
    has_factor: bool = False
    asks_factor: bool = False  # whether a role of theirs asks for a second factor

    def can(self, permission: str) -> bool:
        """Whether role and token both allow it."""
        return permission in self.permissions and (self.scopes is None or permission in self.scopes)

    @property
    def administers(self) -> bool:
        """Whether anything under /admin is theirs."""
        return any(self.can(name) for name, (_, holders) in PERMISSIONS.items() if MEMBER not in holders)

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def initials(self) -> str:
        """Up to two letters for the picture in the corner."""
        words = self.name.split() or [self.email]
        return "".join(word[0] for word in (words[0], *words[1:][-1:])).upper()


def level_by_role(actor: Actor) -> Level:
    """What the actor's roles allow with everybody's files and folders."""
    if actor.can("vault.write"):
        return Level.MANAGER
    return Level.VIEWER if actor.can("vault.read") else Level.NONE


def require(actor: Actor | None, permission: str) -> Actor:
    """The actor, when the permission is theirs. Raises Unauthenticated for nobody, Refused for somebody without it."""
    if permission not in PERMISSIONS:
        raise KeyError(permission)
    if actor is None:
        raise Unauthenticated
    if not actor.can(permission):
        raise Refused(f"This needs the permission {permission}.")
    return actor


def system_actor(request_id: str | None = None) -> Actor:
    """The vault itself: jobs and commands act as it. It owns nothing and id 0 never names an account."""
    return Actor(id=0, uuid=UUID(int=0), email="", name="System", roles=frozenset({ADMIN}),
                 permissions=frozenset(PERMISSIONS), request_id=request_id)  # fmt: skip
