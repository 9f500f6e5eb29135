"""The store in a bucket of S3 or what speaks like it: drafts wait on the local disk, then go there in parts.

boto3 is imported when the first store of this kind is made: start-up is part of speed.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from webapp.config import Settings, current_settings
from webapp.errors import DiskFull, Unavailable
from webapp.infra.drafts import CHUNK, DRAFTS, LocalDraft, new_place, plain_key
from webapp.infra.localstore import LocalStore

PART = 16 * 1024**2
COPIED = 5 * 1024**3  # bytes that S3 copies at once
LINK_LIFE = 60  # seconds in which a download has to begin
FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "InsufficientStorage", "507"}
BEYOND = {"InvalidRange", "416"}
LOST = {"404", "NoSuchKey", "NotFound"}


class Place(NamedTuple):
    """A bucket and how to reach it."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    access_key: str | None
    secret_key: str | None
    waiting: Path

    @classmethod
    def of(cls, url: str, settings: Settings) -> "Place":
        """That of s3://bucket/prefix."""
        parts = urlsplit(url)
        access, secret = settings.s3_access_key, settings.s3_secret_key
        prefix = parts.path.strip("/")
        return cls(
            bucket=parts.netloc, prefix=f"{prefix}/" if prefix else "", endpoint=settings.s3_endpoint or None,
            region=settings.s3_region or None, access_key=access.get_secret_value() if access else None,
            secret_key=secret.get_secret_value() if secret else None, waiting=settings.var_dir / "waiting",
        )  # fmt: skip


@contextmanager
def _answers() -> Iterator[None]:
    """Turn what S3 and the way there say into DiskFull or Unavailable."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error, OSError) as error:
        code = _code_of(error) or _code_of(error.__context__)
        if code in FULL:
            raise DiskFull("The vault's store is full. Nothing was stored; tell your administrator.") from error
        cause = FileNotFoundError(errno.ENOENT, "no such object") if code in LOST else error
        raise Unavailable("The file store does not answer. Try again in a moment.", retry_after=5) from cause


def _code_of(error: BaseException | None) -> str:
    """The word by which S3 tells what is wrong."""
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


class S3Draft(LocalDraft):
    """A draft that is sent when it is synced: before the transaction, whose locks others wait for."""

    bucket: "S3Store"
    sent = False

    def sync(self) -> None:
        """Force the bytes to the disk, close, and send them. Raises DiskFull, Unavailable."""
        fresh = self._open
        super().sync()
        if fresh:
            self.bucket.send(self)

    def discard(self) -> None:
        """Remove the draft, and what was sent of it where nobody else can have it."""
        sent, self.sent = self.sent, False
        super().discard()
        if sent and self.sealed:
            self.bucket.delete(self.key)


class S3Store:
    """A bucket: objects under a prefix. What is being written waits under VAR_DIR/waiting on this machine."""

    def __init__(self, place: Place) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        self.place, self.waiting = place, LocalStore(place.waiting)
        self.drafts = self.waiting.drafts
        self._parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
        config = Config(
            signature_version="s3v4", connect_timeout=5, read_timeout=30, max_pool_connections=64,
            retries={"mode": "standard", "max_attempts": 3},
            s3={"addressing_style": "path" if place.endpoint else "auto"},
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        )  # fmt: skip
        self._client: Any = boto3.session.Session().client(
            "s3", endpoint_url=place.endpoint, region_name=place.region, aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key, config=config,
        )  # fmt: skip

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.place.bucket, "Key": self.place.prefix + key}

    def draft(self) -> LocalDraft:
        """A new empty draft, sealed where ENCRYPT_FILES says so. Raises DiskFull or Unavailable."""
        return self._draft(new_place(sealed=current_settings().encrypt_files), None)

    def reopen(self, place: str, data_key: bytes) -> LocalDraft:
        """A draft that was suspended on this machine, to be written on. Raises Unavailable when it is not here."""
        return self._draft(place, data_key)

    def _draft(self, place: str, data_key: bytes | None) -> S3Draft:
        draft = S3Draft(self.waiting.root, place, data_key)
        draft.bucket = self
        return draft

    def key(self, digest: str) -> str:
        """Where plain content of this sha-256 belongs."""
        return plain_key(digest)

    def send(self, draft: LocalDraft) -> None:
        """Put a draft's bytes under its key, in parts; whole or not at all."""
        if draft.sealed or self.size(draft.key) != draft.stored_size:
            self.put(draft.key, draft.path)
            if isinstance(draft, S3Draft):
                draft.sent = True

    def put(self, key: str, source: Path) -> None:
        """Store the bytes of a local file under the key."""
        with _answers():
            self._client.upload_file(str(source), self.place.bucket, self.place.prefix + key, Config=self._parts)

    def receive(self, key: str, pieces: Iterator[bytes]) -> None:
        """Put these bytes under the key, by way of the local disk; whole or not at all."""
        aside = f"{DRAFTS}/{key.rsplit('/', 1)[-1]}.moving"
        self.waiting.receive(aside, pieces)
        try:
            self.put(key, self.waiting.path(aside))
        finally:
            self.waiting.delete(aside)

    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str:
        """See that the draft is in its place, and return the key."""
        draft.sync()
        key, size = draft.key, draft.stored_size
        if replace or self.size(key) != size:
            self.put(key, draft.path)
        if isinstance(draft, S3Draft):
            draft.sent = False
        draft.discard()
        return key

    def read(self, key: str, start: int = 0, length: int | None = None, piece: int = CHUNK) -> Iterator[bytes]:
        """`length` bytes from `start` (all by default) in pieces of so many. Raises Unavailable for a lost object."""
        if length == 0:
            return iter(())
        until = "" if length is None else str(start + length - 1)
        try:
            with _answers():
                body = self._client.get_object(**self._at(key), Range=f"bytes={start}-{until}")["Body"]
        except Unavailable as error:
            if _code_of(error.__cause__) in BEYOND:
                return iter(())
            raise
        return _pieces(body, piece)

    def path(self, key: str) -> Path | None:
        """No file: it is elsewhere."""
        return None

    def link(self, key: str, headers: dict[str, str]) -> str | None:
        """An address that gives the bytes for a minute, with the type and disposition of these headers."""
        told = {"ResponseContentType": headers["Content-Type"],
                "ResponseContentDisposition": headers["Content-Disposition"]}  # fmt: skip
        address: str = self._client.generate_presigned_url("get_object", {**self._at(key), **told}, LINK_LIFE)
        return address

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            with _answers():
                found: dict[str, Any] = self._client.head_object(**self._at(key))
        except Unavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return found

    def size(self, key: str) -> int | None:
        """Bytes stored under the key, None when there are none."""
        if key.startswith(f"{DRAFTS}/"):
            return self.waiting.size(key)
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def touch(self, key: str) -> None:
        """Make it young again: the sweep of orphans leaves it alone."""
        if (self.size(key) or COPIED) < COPIED:
            with _answers():
                self._client.copy_object(**self._at(key), CopySource=self._at(key), MetadataDirective="REPLACE")

    def delete(self, key: str) -> None:
        """Remove the bytes; does nothing when they are gone."""
        if key.startswith(f"{DRAFTS}/"):
            self.waiting.delete(key)
            return
        with _answers():
            self._client.delete_object(**self._at(key))

    def check(self) -> None:
        """Raises Unavailable when the bucket is away."""
        with _answers():
            self._client.head_bucket(Bucket=self.place.bucket)

    def free(self) -> int:
        """Bytes that the disk takes on which uploads wait; the bucket has no end."""
        return self.waiting.free()

    def room(self) -> int:
        """Bytes of that whole disk."""
        return self.waiting.room()

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Keys of everything, drafts of this machine too, that was neither written nor reused in the last `seconds`."""
        yield from self.waiting.keys_older_than(seconds)
        limit = time.time() - seconds
        with _answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=self.place.prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    if found["LastModified"].timestamp() < limit:
                        yield found["Key"].removeprefix(self.place.prefix)

    def older_than(self, key: str, seconds: float) -> bool:
        """Whether the key is there and was left alone for so long."""
        if key.startswith(f"{DRAFTS}/"):
            return self.waiting.older_than(key, seconds)
        found = self._head(key)
        return found is not None and found["LastModified"].timestamp() < time.time() - seconds


def _pieces(body: Any, piece: int) -> Iterator[bytes]:
    with _answers():
        try:
            while data := body.read(piece):
                yield data
        finally:
            body.close()
