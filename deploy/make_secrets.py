"""Write the secrets that docker-compose.yml mounts into deploy/secrets/, each made once and never overwritten.

The directory is closed to others (0700); the files are readable (0444), because a mounted secret keeps its mode and
the servers in the containers run as users of their own.
"""

import secrets
import sys
from pathlib import Path

RANDOM = (
    "secret_keys", "jwt_keys", "data_keys", "metrics_token", "admin_password",
    "database_password", "database_owner_password", "redis_password", "rabbitmq_password",
)  # fmt: skip
DERIVED = {
    "migration_database_url": "postgresql://holdfast_owner:{database_owner_password}@postgres:5432/holdfast\n",
    "redis_conf": "requirepass {redis_password}\nappendonly yes\nmaxmemory-policy noeviction\n",
    "redis_url": "redis://:{redis_password}@redis:6379/0\n",
    "rabbitmq_conf": "default_user = holdfast\ndefault_pass = {rabbitmq_password}\n",
    "rabbitmq_url": "amqp://holdfast:{rabbitmq_password}@rabbitmq:5672/%2F\n",
}


def make_secrets(folder: Path) -> list[str]:
    """Write what is missing in `folder`; return the names written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    written = [name for name in RANDOM if _write_once(folder / name, secrets.token_urlsafe(32) + "\n")]
    values = {name: (folder / name).read_text(encoding="ascii").strip() for name in RANDOM}
    written += [name for name, text in DERIVED.items() if _write_once(folder / name, text.format(**values))]
    return written


def _write_once(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(text)
    except FileExistsError:
        return False
    path.chmod(0o444)
    return True


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "secrets"
    names = make_secrets(target)
    print(f"{target}: {', '.join(names) if names else 'all there already'}")
