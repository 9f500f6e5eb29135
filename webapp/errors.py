"""What services raise; http/problems.py turns each into problem+json or an error page. No HTTP library here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one input field: a dotted path, a `code` stable for programs, a `message` for people."""

    field: str
    code: str
    message: str


class HoldfastError(Exception):
    """Base of every expected failure. `status` is the HTTP status (RFC 9110), `code` a stable word for programs."""

    status = 400
    code = "bad_request"
    title = "Bad request"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.code = code or self.code
        self.errors = errors
        self.retry_after = retry_after


class Malformed(HoldfastError):
    """The request cannot be read at all: broken JSON, a wrong header, a truncated body."""

    title = "Malformed request"
    code = "malformed"


class Unauthenticated(HoldfastError):
    """Nobody is signed in, or the proof of identity is wrong or over."""

    status, code, title = 401, "unauthenticated", "Sign in first"


class Refused(HoldfastError):
    """Known person, known object, permission lacking."""

    status, code, title = 403, "forbidden", "Not allowed"


class StepUp(Refused):
    """The session has to show once more that it is its owner's. A page asks and comes back."""

    code, title = "step_up_required", "Confirm that it is you"


class FactorDue(Refused):
    """A role of the account asks for a second factor, and there is none yet."""

    code, title = "second_factor_required", "Set up a second factor"


class Missing(HoldfastError):
    """The object is not there, or is not the actor's to see: both look the same from outside."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(HoldfastError):
    """The wish contradicts the present state: a taken name, a cycle, a twin in flight."""

    status, code, title = 409, "conflict", "Conflict"


class DamagedContent(Conflict):
    """Stored bytes are not the ones that were uploaded."""

    code = "damaged"


class Stale(Conflict):
    """Somebody changed the object since the caller read it. Answered 412 where the request named a version."""

    code, title = "stale_version", "Changed in the meantime"


class Gone(HoldfastError):
    """A link that was used, is over, or never was one of ours: all look the same from outside."""

    status, code, title = 410, "link_over", "This link is over"


class TooLarge(HoldfastError):
    """More bytes than allowed: the upload limit or the owner's quota."""

    status, code, title = 413, "too_large", "Too large"


class Unsupported(HoldfastError):
    """A body of a type the operation does not read."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Unsatisfiable(HoldfastError):
    """A range that lies outside the content (RFC 9110, 15.5.17)."""

    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The content has {size} bytes.")
        self.headers = {"Content-Range": f"bytes */{size}"}


class Invalid(HoldfastError):
    """Readable, but a field's value is not acceptable; `errors` names each field."""

    status, code, title = 422, "invalid", "Invalid input"

    @classmethod
    def field(cls, field: str, code: str, message: str) -> "Invalid":
        """The common case: one fault of one field."""
        return cls(message, errors=(FieldError(field, code, message),))


class Locked(HoldfastError):
    """Somebody holds the object."""

    status, code, title = 423, "locked", "Locked"


class Limited(HoldfastError):
    """Too many attempts; `retry_after` is seconds."""

    status, code, title = 429, "rate_limited", "Too many requests"


class Unavailable(HoldfastError):
    """A part that is needed right now (database, store) does not answer; trying again is sensible."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"


class DiskFull(HoldfastError):
    """The store has no room; nothing of the request was kept."""

    status, code, title = 507, "storage_full", "Storage is full"
