"""Receiving bytes: from the socket straight into a draft of the store, hashed on the way, never whole in memory."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from flask import Request, g, request
from werkzeug.exceptions import ClientDisconnected

from webapp.config import current_settings
from webapp.errors import HoldfastError, Invalid, Malformed, TooLarge, Unavailable
from webapp.http.guard import ENVELOPE, prove_form
from webapp.infra.storage import LocalDraft, store
from webapp.services.files import NewFile, UploadQuery

PIECE = 1024 * 1024
DRAIN = 32 * 1024 * 1024


class LengthRequired(HoldfastError):
    """A body of unknown length that the server cannot read to its end (RFC 9110, 15.5.12)."""

    status, code, title = 411, "length_required", "Length required"


class DraftStream:
    """What werkzeug's multipart parser writes a part into; it is a draft, and it is never read back here."""

    def __init__(self, draft: LocalDraft, keep: Callable[[], None]) -> None:
        self.draft, self._keep = draft, keep

    def write(self, data: bytes) -> int:
        _check_size(self.draft.size + len(data))
        self._keep()
        return self.draft.write(data)

    def seek(self, _offset: int, _whence: int = 0) -> int:
        return 0

    def close(self) -> None:
        """The draft is closed by whoever received it."""


class VaultRequest(Request):
    """A request whose file parts go into drafts while `received` is open, and are refused otherwise."""

    drafts: ExitStack | None = None
    keep: Callable[[], None] = staticmethod(lambda: None)

    def _get_file_stream(
        self, total_content_length: int | None, content_type: str | None, filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:  # fmt: skip
        if self.drafts is None:
            raise Invalid.field("file", "unexpected_file", "This form takes no files.")
        return cast(IO[bytes], DraftStream(self.drafts.enter_context(store().draft()), self.keep))


@dataclass
class Incoming:
    """What arrived: the form's fields and the files, each with the name its sender gave."""

    fields: Mapping[str, str]
    parts: list[tuple[str, LocalDraft]]

    def wishes(self, query: UploadQuery) -> list[tuple[NewFile, LocalDraft]]:
        """Each file with where it goes. Raises Invalid without a file, ValidationError for unusable fields."""
        if not self.parts:
            raise Invalid.field("file", "missing", "Choose a file.")
        told = {key: value for key, value in self.fields.items() if key != "csrf_token" and value != ""}
        wish = {**query.model_dump(exclude_none=True), **told}
        name = wish.pop("name", "")
        return [
            (NewFile.model_validate({**wish, "name": _base_name(given) or name}), draft) for given, draft in self.parts
        ]

    def given(self) -> list[tuple[str, LocalDraft]]:
        """Each file with the name that its sender gave, whatever the form's fields say. Raises Invalid without one."""
        if not self.parts:
            raise Invalid.field("file", "missing", "Choose a file.")
        return [(_base_name(given), draft) for given, draft in self.parts]

    def fingerprint(self) -> bytes:
        """What was sent, for telling a repetition from another request under the same key."""
        told = [f"{name}={value}" for name, value in sorted(self.fields.items()) if name != "csrf_token"]
        return "\0".join([*told, *(f"{name}:{draft.sha256()}" for name, draft in self.parts)]).encode()

    def only(self) -> LocalDraft:
        """The one file of a replacement."""
        if len(self.parts) != 1:
            raise Invalid.field("file", "one_file", "Send exactly one file.")
        return self.parts[0][1]


def _base_name(given: str) -> str:
    """Some browsers send a path; only its last part is the name."""
    return re.split(r"[/\\]", given)[-1]


@contextmanager
def received(keep: Callable[[], None] = lambda: None) -> Iterator[Incoming]:
    """All files of a multipart form, or the raw body as one part without a name. Drafts not kept vanish at the end.

    `keep` is called for every piece that arrives, to prolong what the caller holds meanwhile.
    Raises Malformed for a body that is cut, LengthRequired, TooLarge, DiskFull.
    """
    with ExitStack() as stack:
        if request.mimetype == "multipart/form-data":
            cast(VaultRequest, request).drafts, cast(VaultRequest, request).keep = stack, keep
            parts = [(item.filename or "", cast(Any, item.stream).draft) for item in request.files.getlist("file")]
            fields = dict(request.form)
            if None in fields:  # what werkzeug makes of a part whose Content-Disposition has no name
                raise Malformed("Every field of a form has a name.")
            prove_sender(fields.get("csrf_token"))
        else:
            prove_sender(None)
            parts, fields = [("", _receive_raw(stack, keep))], {}
        for _, draft in parts:
            draft.sync()  # here, because the transaction that follows holds locks others wait for
        yield Incoming(fields, parts)


def prove_sender(token: str | None) -> None:
    """Where a cookie vouches for the sender, the form has to prove that it is ours before anything is kept."""
    if g.get("form_proven") is False:
        prove_form(token)


def _receive_raw(stack: ExitStack, keep: Callable[[], None]) -> LocalDraft:
    length = request.environ.get("CONTENT_LENGTH")
    if length and not length.isdecimal():
        raise Malformed("Content-Length is not a number of bytes.")
    expected = request.content_length if length else None
    if expected is None and not request.environ.get("wsgi.input_terminated"):
        raise LengthRequired("Send a Content-Length with the body.")
    _check_size(expected or 0)
    draft = stack.enter_context(store().draft())
    try:
        while piece := request.stream.read(PIECE):
            _check_size(draft.size + len(piece))
            draft.write(piece)
            keep()
    except (ClientDisconnected, OSError) as error:
        raise Malformed("The body ended before it was complete.", code="truncated") from error
    if expected is not None and draft.size != expected:
        raise Malformed(f"The body ended after {draft.size} of {expected} bytes.", code="truncated")
    return draft


def _check_size(size: int) -> None:
    if size > current_settings().max_upload_size:
        raise TooLarge("This file is larger than the vault takes.")


def announced_size() -> int | None:
    """The bytes that the file of this request has at least; None when its headers do not tell."""
    size = request.content_length
    if size is None or request.mimetype != "multipart/form-data":
        return size
    return size - ENVELOPE if size > ENVELOPE else None


@contextmanager
def refusals_heard() -> Iterator[None]:
    """Around an upload: a refusal reads on before it answers."""
    try:
        yield
    except HoldfastError:
        _drain()
        raise


def _drain() -> None:
    """Read on a little after a refusal, so that a client that is still sending sees the answer, not a reset."""
    left = request.content_length or 0
    if left > DRAIN:  # too much to wait for
        return
    try:
        while left > 0 and (piece := request.environ["wsgi.input"].read(min(PIECE, left))):
            left -= len(piece)
    except (OSError, Unavailable):
        return
