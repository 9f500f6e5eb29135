"""Tables of media types: by the first bytes, by the entries of an archive, by the names of texts."""

import re

UNKNOWN, PLAIN, ZIP = "application/octet-stream", "text/plain", "application/zip"

# Stated here because puremagic has no media type, an odd one or several for these. (offset, bytes, type)
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"WEBPVP8", "image/webp"),
    (8, b"WAVEfmt", "audio/wav"),
    (8, b"AVI LIST", "video/x-msvideo"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe", "application/postscript"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (0, b"!<arch>\n", "application/x-archive"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xca\xfe\xba\xbe\0\0\0", "application/java-vm"),
    (0, b"\0asm", "application/wasm"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"MThd", "audio/midi"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "font/otf"),
    (0, b"\0\1\0\0\0", "font/ttf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
)
OLE = {".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
       ".msg": "application/vnd.ms-outlook", ".msi": "application/x-msi"}  # fmt: skip
FTYP_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime", b"avif": "image/avif",
               b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}  # fmt: skip

_OOXML = "application/vnd.openxmlformats-officedocument."
OFFICE = {  # an entry that only this kind of archive holds → (extension, type)
    "word/document.xml": (".docx", _OOXML + "wordprocessingml.document"),
    "xl/workbook.xml": (".xlsx", _OOXML + "spreadsheetml.sheet"),
    "ppt/presentation.xml": (".pptx", _OOXML + "presentationml.presentation"),
    "AndroidManifest.xml": (".apk", "application/vnd.android.package-archive"),
    "META-INF/MANIFEST.MF": (".jar", "application/java-archive"),
    "doc.kml": (".kmz", "application/vnd.google-earth.kmz"),
}
OFFICE_BY_NAME = dict(OFFICE.values())
MACROS = {
    ".docx": "application/vnd.ms-word.document.macroenabled.12",
    ".xlsx": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".pptx": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
}
DECLARED = re.compile(rb"application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{3,30}|vnd\.sun\.xml\.[a-z.]{3,30})")

TEXTS = {  # of names whose content is text; what the standard library does not know or names after programs
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".md": "text/markdown", ".markdown": "text/markdown",
    ".rst": "text/x-rst", ".json": "application/json", ".geojson": "application/geo+json",
    ".ipynb": "application/x-ipynb+json", ".jsonl": "application/jsonl", ".xml": "application/xml",
    ".xsd": "application/xml", ".xsl": "application/xml", ".gpx": "application/gpx+xml",
    ".kml": "application/vnd.google-earth.kml+xml", ".html": "text/html", ".htm": "text/html",
    ".xhtml": "text/html", ".svg": "image/svg+xml", ".yaml": "application/yaml", ".yml": "application/yaml",
    ".toml": "application/toml", ".sql": "application/sql", ".css": "text/css", ".js": "text/javascript",
    ".mjs": "text/javascript", ".ts": "text/x-typescript", ".tsx": "text/x-typescript", ".py": "text/x-python",
    ".pyi": "text/x-python", ".c": "text/x-c", ".h": "text/x-c", ".cpp": "text/x-c++", ".hpp": "text/x-c++",
    ".go": "text/x-go", ".rs": "text/x-rust", ".java": "text/x-java", ".rb": "text/x-ruby", ".pl": "text/x-perl",
    ".sh": "text/x-shellscript", ".tex": "text/x-tex", ".bib": "text/x-bibtex", ".ics": "text/calendar",
    ".vcf": "text/vcard", ".diff": "text/x-diff", ".patch": "text/x-diff", ".eml": "message/rfc822", ".log": PLAIN,
    ".txt": PLAIN, ".ini": PLAIN, ".cfg": PLAIN, ".conf": PLAIN, ".po": "text/x-gettext-translation",
}  # fmt: skip
