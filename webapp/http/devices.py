"""What a user agent calls itself, in words a person recognises. A hint only: agents say what they like."""

from flask_babel import gettext as _

# the first mark found wins: others' names stand in many agents
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
            ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
           ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip
MOBILE = {"Android", "iPhone", "iPad"}


def device_of(agent: str | None, kind: str) -> tuple[str, str]:
    """Words and icon: ("Firefox on Linux", "device-desktop"), or a program's own name."""
    text = agent or ""
    if kind == "program":
        return text.partition("/")[0][:40] or _("A program"), "terminal-2"
    browser = next((name for mark, name in BROWSERS if mark in text), _("A browser"))
    system = next((name for mark, name in SYSTEMS if mark in text), None)
    icon = "device-mobile" if system in MOBILE else "device-desktop"
    return (_("%(browser)s on %(system)s", browser=browser, system=system) if system else browser), icon
