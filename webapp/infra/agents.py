"""What a user agent calls itself. A hint only: agents say what they like."""

# the first mark found wins: others' names stand in many agents
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
            ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
           ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


def browser_of(agent: str | None) -> str | None:
    """The browser's name; None for what is no browser we know."""
    return next((name for mark, name in BROWSERS if mark in (agent or "")), None)


def system_of(agent: str | None) -> str | None:
    """The operating system's name, where it is told."""
    return next((name for mark, name in SYSTEMS if mark in (agent or "")), None)


def program_of(agent: str | None) -> str:
    """The first word of a program's name; "" for one without."""
    return (agent or "").partition("/")[0][:40]
