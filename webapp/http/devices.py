"""What a user agent calls itself, in words a person recognises."""

from flask_babel import gettext as _

from webapp.infra.agents import browser_of, program_of, system_of

MOBILE = {"Android", "iPhone", "iPad"}


def device_of(agent: str | None, kind: str) -> tuple[str, str]:
    """Words and icon: ("Firefox on Linux", "device-desktop"), or a program's own name."""
    if kind == "program":
        return program_of(agent) or _("A program"), "terminal-2"
    browser, system = browser_of(agent) or _("A browser"), system_of(agent)
    icon = "device-mobile" if system in MOBILE else "device-desktop"
    return (_("%(browser)s on %(system)s", browser=browser, system=system) if system else browser), icon
