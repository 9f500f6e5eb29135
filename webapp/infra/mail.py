"""Sends one mail to one person: SMTP (RFC 5321) with STARTTLS, or printed where there is no server."""

import contextlib
import smtplib
import ssl
import sys
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from webapp.config import current_settings
from webapp.errors import HoldfastError, Unavailable
from webapp.infra.clock import now

PORTS = {"smtp": 25, "smtps": 465}
PATIENCE = 20.0  # seconds for each answer of the server
SHOWN = 500  # characters of what the server said


class Bounced(HoldfastError):
    """The server refused this mail for good (5yz), or there is none; `code` is its number, 0 without one."""

    status, title = 422, "The mail was refused"

    def __init__(self, step: str, number: int, words: str) -> None:
        super().__init__(f"The mail server refused {step}: {words}" if number else words)
        self.step, self.number, self.words = step, number, words


class NotNow(Unavailable):
    """The server does not answer, broke off, or refused for now (4yz). The same mail may be sent again."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent. `message_id` stays the same however often it is sent (RFC 5322, 3.6.4)."""

    to: str
    name: str
    subject: str
    text: str
    html: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Server:
    """How mail leaves the vault. `kind` is smtp, smtps, console (printed) or none; `tls` is how smtp is secured."""

    kind: str
    host: str | None
    port: int | None
    tls: str | None
    signs_in: bool
    sender: str


def mail_server() -> Server:
    """What MAIL_URL and MAIL_FROM say, without user name and password."""
    url, sender = current_settings().mail_url, current_settings().mail_from
    parts = urlsplit(url.get_secret_value()) if url else urlsplit("none:")
    if parts.scheme not in PORTS:
        return Server(parts.scheme, None, None, None, False, sender)
    tls = _wish_of(parts) if parts.scheme == "smtp" else "required"
    return Server(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], tls, bool(parts.username), sender)


def sender_domain() -> str:
    """The right side of MAIL_FROM, which Message-IDs end in."""
    return parseaddr(current_settings().mail_from)[1].rpartition("@")[2]


def send(letter: Letter) -> str:
    """Hand it over; returns the server's last words. Raises Bounced or NotNow, both with what the server said."""
    url = current_settings().mail_url
    if url is None:
        raise Bounced("all mail", 0, "No mail server is configured (MAIL_URL).")
    message = message_of(letter)
    if url.get_secret_value() == "console:":
        heads = "\n".join(f"{name}: {message[name]}" for name in ("From", "To", "Subject", "Message-ID"))
        print(f"{heads}\n\n{letter.text}", file=sys.stdout, flush=True)  # noqa: T201
        return "printed"
    try:
        server = _connect(urlsplit(url.get_secret_value()))
        try:
            return _hand_over(server, letter.to, message)
        finally:
            _leave(server)
    except smtplib.SMTPDataError as error:
        raise _meaning("the content", error.smtp_code, error.smtp_error) from error
    except smtplib.SMTPResponseException as error:  # a greeting or a sign-in refused says nothing about this mail
        raise NotNow(f"The mail server said: {error.smtp_code} {_text(error.smtp_error)}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise NotNow(f"The mail server does not answer as it should: {_fault(error)}") from error


def _leave(server: smtplib.SMTP) -> None:
    """What goes wrong after the last answer changes nothing: the mail is the server's now, or it is not."""
    with contextlib.suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def message_of(letter: Letter) -> EmailMessage:
    """The mail as text and HTML. A line break in a header's value is refused by the library (ValueError)."""
    name, address = parseaddr(current_settings().mail_from)
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(name, address)
    message["To"] = _address(letter.name, letter.to)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now())
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in answer
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def _address(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    return Address(name, local, domain)


def _connect(url: SplitResult) -> smtplib.SMTP:
    host, me = str(url.hostname), urlsplit(current_settings().origin).hostname or "localhost"
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, url.port or PORTS["smtps"], me, timeout=PATIENCE, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, url.port or PORTS["smtp"], me, timeout=PATIENCE)
    try:
        server.ehlo_or_helo_if_needed()
        if url.scheme == "smtp":
            _secure(server, url)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _secure(server: smtplib.SMTP, url: SplitResult) -> None:
    """STARTTLS (RFC 3207). Without a demand for it any certificate is better than none (RFC 7435)."""
    wish = _wish_of(url)
    if wish == "off":
        return
    if server.has_extn("starttls"):
        context = ssl.create_default_context()
        if wish == "auto":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        server.starttls(context=context)
        server.ehlo()
    elif wish == "required":
        raise NotNow("The mail server offers no STARTTLS, which MAIL_URL demands.")


def _wish_of(url: SplitResult) -> str:
    return parse_qs(url.query).get("tls", ["required" if url.password else "auto"])[0]


def _hand_over(server: smtplib.SMTP, to: str, message: EmailMessage) -> str:
    """MAIL, RCPT, DATA by hand: the library keeps neither the words of a refusal nor those of the success."""
    sender = parseaddr(current_settings().mail_from)[1]
    beyond_ascii = not (to.isascii() and sender.isascii())
    if beyond_ascii and not server.has_extn("smtputf8"):
        raise Bounced("the recipient", 0, "The mail server takes no addresses beyond ASCII (RFC 6531).")
    body = message.as_bytes(policy=SMTPUTF8 if beyond_ascii else SMTP)
    options = ["SMTPUTF8", "BODY=8BITMIME"] if beyond_ascii else []
    _heard("the sender", server.mail(sender, options))
    _heard("the recipient", server.rcpt(to))
    return _heard("the content", server.data(body))


def _heard(step: str, answer: tuple[int, bytes]) -> str:
    number, words = answer
    if number not in {250, 251, 252}:
        raise _meaning(step, number, words)
    return f"{number} {_text(words)}"


def _meaning(step: str, number: int, words: bytes | str) -> HoldfastError:
    said = f"{number} {_text(words)}"
    return Bounced(step, number, said) if 500 <= number < 600 else NotNow(f"The mail server said: {said}")


def _text(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:SHOWN]


def _fault(error: Exception) -> str:
    return _text(getattr(error, "strerror", None) or str(error)) or type(error).__name__
