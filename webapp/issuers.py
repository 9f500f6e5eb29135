"""Providers of OpenID Connect that people may sign in with: OIDC_ISSUERS names them, OIDC_<NAME>_… describes each."""

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

NAME = re.compile(r"[a-z0-9](-?[a-z0-9]){0,30}")
ROLES = ("guest", "member", "manager", "admin")
SECRET = "CLIENT_SECRET"  # noqa: S105 - the end of a variable's name
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def _listed(value: object) -> object:
    return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """`group=role,other=role`, or a JSON object where groups have commas in their names, as those of directories do."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not valid JSON") from None
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all("=" in part for part in parts):
        raise ValueError("must be like vault-admins=admin,staff=member")
    return {group.strip(): role.strip() for group, _, role in (part.rpartition("=") for part in parts)}


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Issuer(BaseModel):
    """One provider. Field names are the ends of its variables in lower case; `url` is compared to the letter."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str
    url: str = Field(max_length=255)
    client_id: str = Field(min_length=1, max_length=255)
    client_secret: SecretStr | None = None
    title: str = Field("", max_length=60)
    scopes: Listed = ("openid", "email", "profile")
    auto_create: bool = False
    email_domains: Listed = ()
    role: str = "member"
    roles_claim: str = Field("groups", min_length=1)
    roles: Annotated[dict[str, str], BeforeValidator(_pairs)] = {}

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be the provider's address, such as https://login.example.org/realms/work")
        if "@" in parts.netloc:
            raise ValueError("must not hold a user name or password")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https; http is for providers on this machine")
        return value

    @field_validator("scopes")
    @classmethod
    def _with_openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("must contain openid")
        return value

    @field_validator("email_domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(domain.lower().removeprefix("@") for domain in value)
        for domain in lowered:
            if not _DOMAIN.fullmatch(domain):
                raise ValueError(f"{domain} is not a domain")
        return lowered

    @field_validator("role", "roles")
    @classmethod
    def _known_roles(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        unknown = sorted({*([value] if isinstance(value, str) else value.values())} - {*ROLES})
        if unknown:
            raise ValueError(f"knows no role {', '.join(unknown)}; there are {', '.join(ROLES)}")
        return value

    @property
    def label(self) -> str:
        """What its button says."""
        return self.title or self.name.replace("-", " ").title()

    def welcomes(self, email: str) -> bool:
        """Whether somebody without an account gets one on coming from here with this address."""
        domain = email.rpartition("@")[2].lower()
        return self.auto_create and (not self.email_domains or domain in self.email_domains)

    def __repr__(self) -> str:
        return f"{self.name} ({self.url})"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def read_issuers(raw: Mapping[str, str]) -> tuple[tuple[Issuer, ...], list[str]]:
    """The providers that the environment describes, and what is wrong with it, free of secret values."""
    names = [part.strip() for part in raw.get("OIDC_ISSUERS", "").split(",") if part.strip()]
    faults = [
        f"OIDC_ISSUERS: {name!r} must be lower-case letters, digits and single hyphens"
        for name in names
        if not NAME.fullmatch(name)
    ]
    if len(set(names)) < len(names):
        faults.append("OIDC_ISSUERS: names one provider twice")
    found, used = [], {"OIDC_ISSUERS"}
    for name in dict.fromkeys(names):
        issuer, wrong = _read_issuer(name, raw, used)
        found += [issuer] if issuer else []
        faults += wrong
    urls = [issuer.url for issuer in found]
    faults += [f"OIDC_ISSUERS: several have the address {url}" for url in sorted(set(urls)) if urls.count(url) > 1]
    strays = [name for name in raw if name.startswith("OIDC_") and name not in used] if names else []
    return tuple(found), faults + [f"{name}: is no variable of a provider that OIDC_ISSUERS names" for name in strays]


def _read_issuer(name: str, raw: Mapping[str, str], used: set[str]) -> tuple[Issuer | None, list[str]]:
    prefix = f"OIDC_{name.upper().replace('-', '_')}_"
    faults, values = [], dict[str, Any](name=name)
    for field in Issuer.model_fields.keys() - {"name"}:
        variable = prefix + field.upper()
        used.add(variable)
        if raw.get(variable):
            values[field] = raw[variable]
    path = prefix + SECRET + "_FILE"
    used.add(path)
    if raw.get(path):
        if "client_secret" in values:
            faults.append(f"{prefix}{SECRET} and {path}: give one of the two")
        try:
            values["client_secret"] = Path(raw[path]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{path}: cannot be read ({error.__class__.__name__})")
    try:
        return Issuer.model_validate(values), faults
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            message = "required" if item["type"] == "missing" else str(item["msg"]).removeprefix("Value error, ")
            faults.append(f"{prefix}{str(item['loc'][0]).upper()}: {message}")
        return None, faults
