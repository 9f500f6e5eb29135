"""Settings: read from the environment once, validated as a whole, frozen.

Every fault is reported at once and without its secret value; `flask --app wsgi config check` does only that.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import parseaddr
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from dotenv import dotenv_values
from limits import parse as parse_limit
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from webapp.issuers import Issuer, read_issuers

SECRETS = ("SECRET_KEYS", "JWT_KEYS", "DATA_KEYS", "DATABASE_URL", "DATABASE_PASSWORD", "MIGRATION_DATABASE_URL",
           "REDIS_URL", "RABBITMQ_URL", "MAIL_URL", "METRICS_TOKEN", "ADMIN_PASSWORD", "SENTRY_DSN",
           "S3_ACCESS_KEY", "S3_SECRET_KEY")  # fmt: skip
KEYS = ("SECRET_KEYS", "JWT_KEYS", "DATA_KEYS")
EXAMPLES = ("change", "example", "secret", "password", "insecure", "holdfast", "12345678")
REDIS_SCHEMES = {"redis", "rediss", "redis+sentinel", "redis+cluster"}
VERSION = "0.1.0"
QUEUES = ("default", "files", "mail", "webhooks", "upkeep")
PLACEHOLDERS = {"localtime", "Factory"}  # a link to the machine's own zone; what no zone was chosen for
KIB, MIB, GIB = 1024, 1024**2, 1024**3


class ConfigurationError(Exception):
    """The environment cannot be used; `faults` are lines a person can act on, free of secret values."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("Holdfast cannot start with this configuration:\n" + "\n".join(f"  - {f}" for f in faults))
        self.faults = faults


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]
SecretList = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """Everything the process knows about its surroundings. Field names are the variables in lower case."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    app_env: Literal["development", "test", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    tz: str = "UTC"
    streams_port: int = Field(0, ge=0, le=65535, description="of the process for event streams; 0: the one after PORT")
    public_url: str = ""
    var_dir: Path = Path("var")

    secret_keys: SecretList = Field(min_length=1)
    jwt_keys: SecretList = Field(min_length=1)
    data_keys: SecretList = Field(min_length=1)

    database_url: SecretStr
    migration_database_url: SecretStr | None = None
    database_pool_size: int = Field(8, ge=1, le=200)
    database_statement_timeout: float = Field(15, gt=0, description="seconds")
    database_lock_timeout: float = Field(5, gt=0, description="seconds")
    slow_query: float = Field(0.5, gt=0, description="seconds after which a statement is logged")
    redis_url: SecretStr | None = None
    rabbitmq_url: SecretStr | None = None
    rabbitmq_queue_prefix: str = Field("holdfast", pattern=r"^[a-z0-9][a-z0-9_.-]{0,40}$")

    storage_url: str
    former_storage_url: str = Field("", description="the store that everything is moved from, still read meanwhile")
    s3_endpoint: str = Field("", description="address of what speaks like S3, if it is not Amazon's")
    s3_region: str = ""
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    encrypt_files: bool = Field(False, description="whether new content is encrypted on the store, each with its key")
    verify_downloads: bool = Field(False, description="whether plain content, too, is checked before it is sent")
    max_upload_size: int = Field(16 * GIB, ge=1)
    default_quota: int = Field(50 * 10**9, ge=0, description="bytes a new account may hold")
    x_accel_redirect: str = Field("", pattern=r"^(/.*/)?$")

    web_threads: int = Field(32, ge=1, le=256, description="blocking threads of one web process")
    web_processes: int = Field(2, ge=1, le=64, description="web processes, when not embedded")
    job_threads: int = Field(2, ge=1, le=64)
    job_heartbeat: float = Field(5, gt=0, description="seconds between two signs of life of a running job")
    job_orphan_after: float = Field(30, gt=0, description="seconds without one until the job is taken back")
    queue_limits: dict[str, int] = Field(
        {"upkeep": 1}, description="jobs of a queue that run at once, in all processes"
    )
    lane_limits: dict[str, int] = Field({"webhooks": 4}, description="the same of one account or webhook in a queue")
    job_retention_days: int = Field(30, ge=1, le=3650, description="days that finished jobs are kept")
    dead_letter_days: int = Field(90, ge=1, le=3650, description="days that jobs are kept which failed for good")
    trash_retention_days: int = Field(30, ge=0, le=3650, description="days until trashed files are removed; 0: never")
    versions_kept: int = Field(100, ge=0, le=100_000, description="former contents of a file that stay; 0: all of them")
    version_retention_days: int = Field(
        0, ge=0, le=3650, description="days that a former content stays after it was replaced; 0: for ever"
    )
    session_idle_hours: int = Field(336, ge=1, le=8760, description="hours until an unused sign-in ends")
    session_brief_hours: int = Field(24, ge=1, le=8760, description="the same of a browser that was not to remember it")
    session_life_days: int = Field(90, ge=1, le=365, description="days until any sign-in ends, however much it is used")
    impersonation_mail: Literal["sent", "off"] = Field(
        "sent", description="sent or off: a mail to whom somebody acted as"
    )
    account_retention_days: int = Field(30, ge=1, le=3650, description="days until deleted accounts are erased")
    scrub_bytes: int = Field(20 * 10**9, ge=1, description="stored bytes that are read again each night")

    clamav_url: str = Field("", description="clamd, which scans uploads: tcp://host:3310 or unix:/path")
    mail_url: SecretStr | None = None
    mail_from: str = "Holdfast <holdfast@localhost>"
    oidc_issuers: tuple[Issuer, ...] = ()
    webhook_allowed_networks: Networks = ()
    link_default_days: int = Field(0, ge=0, le=3650, description="days a public link is good unless told; 0: no end")
    link_most_days: int = Field(0, ge=0, le=3650, description="days a public link may be good at most; 0: no limit")
    webhook_log_days: int = Field(30, ge=1, le=3650, description="days that deliveries and their answers are kept")

    cors_origins: CommaList = ()
    trusted_proxies: int = Field(0, ge=0, le=10)
    rate_limit: str = Field("1200 per minute", description="of one account or address, over all ordinary routes")
    sign_in_rate_limit: str = Field("60 per minute", description="of one address, whoever tries to sign in")
    metrics_token: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    sentry_dsn: SecretStr | None = None
    admin_email: str | None = None
    admin_password: SecretStr | None = None

    registration: Literal["open", "invitation", "closed"] = Field(
        "invitation", description="who may make an account: open to all, by invitation, or closed"
    )
    access_token_life: timedelta = timedelta(minutes=15)

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in time_zones():
            raise ValueError("is not a time zone of the IANA database")
        return value

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, _, rest = value.get_secret_value().partition("://")
        drivers = {"postgresql": "postgresql+psycopg2", "postgres": "postgresql+psycopg2", "sqlite": "sqlite"}
        if scheme not in {*drivers, *drivers.values()} or not rest:
            raise ValueError("must start with postgresql:// or sqlite:///")
        return SecretStr(f"{drivers.get(scheme, scheme)}://{rest}")

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in REDIS_SCHEMES:
            raise ValueError("must start with redis://, rediss://, redis+sentinel:// or redis+cluster://")
        return value

    @field_validator("rabbitmq_url")
    @classmethod
    def _known_broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in {"amqp", "amqps"}:
            raise ValueError("must start with amqp:// or amqps://")
        return value

    @field_validator("clamav_url")
    @classmethod
    def _known_scanner(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            known = (parts.scheme == "tcp" and parts.hostname and parts.port != 0 and parts.path in {"", "/"}) or (
                parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/")
            )
        except ValueError:  # a port that is none
            known = False
        if value and not known:
            raise ValueError("must be tcp://host:port or unix:/path")
        return value

    @field_validator("mail_url")
    @classmethod
    def _known_mail(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or value.get_secret_value() == "console:":
            return value
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("must be smtp://user:password@host:port, smtps://… or console:")
        query = parse_qs(parts.query)
        if set(query) - {"tls"} or not set(query.get("tls", ())) <= {"required", "auto", "off"}:
            raise ValueError("knows one option, ?tls=required, auto or off")
        return value

    @field_validator("mail_from")
    @classmethod
    def _one_address(cls, value: str) -> str:
        local, _, domain = parseaddr(value)[1].rpartition("@")
        if not local or not domain or not value.isprintable():
            raise ValueError("must be an address, such as Holdfast <vault@example.org>")
        return value

    @field_validator("rate_limit", "sign_in_rate_limit")
    @classmethod
    def _countable(cls, value: str) -> str:
        try:
            parse_limit(value)
        except ValueError:
            raise ValueError("must be like 1200 per minute") from None
        return value

    @field_validator("queue_limits", "lane_limits", mode="before")
    @classmethod
    def _whole_pairs(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else []
        if any(part.count("=") != 1 for part in parts):
            raise ValueError("must be like files=2,mail=4")
        return {name.strip(): number for name, number in (part.split("=") for part in parts)} if parts else value

    @field_validator("queue_limits", "lane_limits")
    @classmethod
    def _known_queues(cls, value: dict[str, int]) -> dict[str, int]:
        if set(value) - set(QUEUES) or min(value.values(), default=1) < 1:
            raise ValueError(f"takes {', '.join(QUEUES)} and numbers from 1 on")
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _reachable_project(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        if parts and not (parts.scheme in {"http", "https"} and parts.username and parts.hostname and parts.path[1:]):
            raise ValueError("must be like https://key@host/project")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _whole_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
                raise ValueError(f"{origin} is no origin: name scheme and host, such as https://app.example.org")
        return value

    @field_validator("storage_url", "former_storage_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (value.startswith("file:///") or (parts.scheme == "s3" and parts.netloc == parts.hostname)):
            raise ValueError("must be a local directory, file:///…, or s3://bucket/prefix")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _reachable_endpoint(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
            raise ValueError("must be like https://s3.example.org")
        return value

    @field_validator("public_url")
    @classmethod
    def _whole_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}):
            raise ValueError("must be scheme and host, such as https://vault.example.org")
        return value.rstrip("/")

    @property
    def threads(self) -> int:
        """Blocking threads of each web process. Several processes get fewer each: together they hold connections."""
        return self.web_threads if self.rabbitmq_url is None else min(self.web_threads, 12)

    @property
    def sign_every(self) -> float:
        """Seconds between two signs of life of a process."""
        return self.job_orphan_after / 3

    @property
    def gone_after(self) -> float:
        """Seconds without one until a process counts as gone: a relay may wait half of them for a broker that hangs."""
        return self.job_orphan_after * 1.5

    @property
    def queue_ceilings(self) -> dict[str, int]:
        """QUEUE_LIMITS; where they do not name them, what waits for others' servers never takes all threads."""
        return {**dict.fromkeys(("mail", "webhooks"), max(1, self.job_threads - 1)), **self.queue_limits}

    @property
    def lane_ceilings(self) -> dict[str, int]:
        """LANE_LIMITS, but no lane takes the last thread of a worker."""
        most = max(1, self.job_threads - 1)
        return {queue: min(number, most) for queue, number in self.lane_limits.items()}

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def https(self) -> bool:
        """Whether browsers reach the vault by https: decides the cookie's name and HSTS."""
        return self.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        return self.public_url or f"http://{'127.0.0.1' if self.host in {'0.0.0.0', '::'} else self.host}:{self.port}"  # noqa: S104

    @property
    def streams_address(self) -> tuple[str, int]:
        """Where the process for event streams listens, beside the web: where there is a Redis."""
        return self.host, self.streams_port or (self.port + 1 if self.port < 65535 else self.port - 1)

    @property
    def sqlite(self) -> bool:
        return self.database_url.get_secret_value().startswith("sqlite")

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.tz)


@cache
def time_zones() -> frozenset[str]:
    """The names of the IANA database; what is called by another name depends on the machine."""
    return frozenset(available_timezones() - PLACEHOLDERS)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read, complete and validate. Raises ConfigurationError with every fault at once.

    Outside production `.env` fills what the environment lacks (not when `environ` is given), and missing keys are
    made once and kept under `var/secrets`, readable by the owner only.
    """
    raw = dict(os.environ if environ is None else environ)
    if environ is None and raw.get("APP_ENV", "development") == "development":
        raw = {**{k: v for k, v in dotenv_values(".env").items() if v is not None}, **raw}
    faults = _read_secret_files(raw)
    values: dict[str, Any] = {name: raw[name.upper()] for name in Settings.model_fields if raw.get(name.upper())}
    if "oidc_issuers" in values:
        values["oidc_issuers"], wrong = read_issuers(raw)
        faults += wrong
    var_dir = Path(values.get("var_dir", "var")).absolute()
    values["var_dir"] = str(var_dir)
    values.setdefault("database_url", _database_url(raw) or f"sqlite:///{var_dir / 'holdfast.db'}")
    values.setdefault("storage_url", f"file://{var_dir / 'blobs'}")
    if values.get("app_env") == "production":
        faults += _production_faults(values, raw)
        values.setdefault("mail_from", f"Holdfast <holdfast@{urlsplit(values.get('public_url', '')).hostname}>")
        for name in KEYS:
            values.setdefault(name.lower(), "absent")  # named once by _production_faults, not again by the model
    else:
        values.setdefault("mail_url", "console:")
        for name in KEYS:
            values.setdefault(name.lower(), _kept_secret(var_dir / "secrets" / name.lower()))
    try:
        settings: Settings | None = Settings.model_validate(values)
    except ValidationError as error:
        faults += [_fault_line(dict(item)) for item in error.errors(include_input=False, include_url=False)]
        settings = None
    faults += _contradictions(raw)
    if settings is None or faults:
        raise ConfigurationError(faults)
    return settings


def _contradictions(raw: Mapping[str, str]) -> list[str]:
    faults = []
    if raw.get("DATABASE_URL") and raw.get("DATABASE_HOST"):
        faults.append("DATABASE_URL and DATABASE_HOST: give the whole address or its parts")
    if bool(raw.get("ADMIN_EMAIL")) != bool(raw.get("ADMIN_PASSWORD")):
        faults.append("ADMIN_EMAIL and ADMIN_PASSWORD: give both or neither")
    if bool(raw.get("S3_ACCESS_KEY")) != bool(raw.get("S3_SECRET_KEY")):
        faults.append("S3_ACCESS_KEY and S3_SECRET_KEY: give both or neither")
    if raw.get("STORAGE_URL") and raw.get("STORAGE_URL") == raw.get("FORMER_STORAGE_URL"):
        faults.append("FORMER_STORAGE_URL: is the same store as STORAGE_URL")
    return faults


def _read_secret_files(raw: dict[str, str]) -> list[str]:
    faults = []
    for name in SECRETS:
        path = raw.get(f"{name}_FILE")
        if not path:
            continue
        if raw.get(name):
            faults.append(f"{name} and {name}_FILE: give one of the two")
            continue
        try:
            raw[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{name}_FILE: cannot be read ({error.__class__.__name__})")
    return faults


def _database_url(raw: Mapping[str, str]) -> str | None:
    host = raw.get("DATABASE_HOST")
    if not host:
        return None
    user, password = (
        quote(raw.get("DATABASE_USER", "holdfast"), safe=""),
        quote(raw.get("DATABASE_PASSWORD", ""), safe=""),
    )
    name, mode = quote(raw.get("DATABASE_NAME", "holdfast"), safe=""), raw.get("DATABASE_SSLMODE", "prefer")
    return f"postgresql://{user}:{password}@{host}:{raw.get('DATABASE_PORT', '5432')}/{name}?sslmode={quote(mode)}"


def _production_faults(values: Mapping[str, str], raw: Mapping[str, str]) -> list[str]:
    return [fault for name in KEYS for fault in _key_faults(name, values.get(name.lower(), ""))] + [
        fault
        for wrong, fault in (
            (
                _is_guest(values.get("rabbitmq_url", "")),
                "RABBITMQ_URL: guest/guest is not accepted in production",
            ),
            (not values.get("public_url"), "PUBLIC_URL: required in production, such as https://vault.example.org"),
            (raw.get("FLASK_DEBUG", "0") not in {"", "0", "false"}, "FLASK_DEBUG: must be off in production"),
            (
                0 < len(values.get("metrics_token", "")) < 16,
                "METRICS_TOKEN: needs at least 16 characters",
            ),
        )
        if wrong
    ]


def _is_guest(url: str) -> bool:
    """Whether the address signs in as RabbitMQ's built-in account, also by saying nothing (AMQP URI specification)."""
    parts = urlsplit(url)
    return bool(url) and (unquote(parts.username or "guest"), unquote(parts.password or "guest")) == ("guest", "guest")


def _key_faults(name: str, value: str) -> Iterator[str]:
    keys = [key.strip() for key in value.split(",") if key.strip()]
    if not keys:
        yield f"{name}: required in production; make one with `openssl rand -base64 32`"
    if any(len(key) < 32 for key in keys):
        yield f"{name}: every key needs at least 32 characters"
    if any(len(set(key)) < 10 or key.lower().startswith(EXAMPLES) for key in keys):
        yield f"{name}: looks like an example; make one with `openssl rand -base64 32`"


def _kept_secret(path: Path) -> str:
    """The secret in this file, made on first use. Two processes that start together agree on one value."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(draft, path)  # fails where a twin was first: its value stands
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def _fault_line(error: dict[str, Any]) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "?"
    return f"{name}: {str(error['msg']).removeprefix('Value error, ')}"


_current: Settings | None = None


def use_settings(settings: Settings) -> None:
    """Make these the settings of the process; create_app does it."""
    global _current
    _current = settings


def current_settings() -> Settings:
    """The settings of the process, read from the environment when nobody set them yet."""
    if _current is None:
        use_settings(load_settings())
    assert _current is not None  # noqa: S101
    return _current
