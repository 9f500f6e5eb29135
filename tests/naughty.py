"""Names and texts that break software: kept as they are, or refused; never an error of ours."""

KEPT = [
    "CON", "con.txt", "NUL.txt", "aux", "COM1.log",  # reserved on Windows: other systems have files of that name
    "..%2fx.txt", "%2e%2e%2f", "%00.txt", "a%0d%0ab",
    "...x", ".hidden", "..twice", "x.", "trailing dot..", " leading and trailing ",
    "quote\"s.txt", "single'quote.txt", "semi;colon.txt", "back`tick`.txt", "$(touch x).txt", "a|b&c>d<e.txt", "*?.txt",
    "комментарий.txt", "报告.pdf", "テスト.txt", "עברית.txt", "العربية.txt",
    "a\u202egpj.exe", "\u200fעבר.txt", "zero\u200bwidth.txt", "soft\u00adhyphen.txt", "nbsp\u00a0.txt", "\ufeffbom.txt",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈.png", "e\u0301 decomposed.txt", "\u00e9 composed.txt", "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮.txt",
    "ﷺ" * 20, "İıſß.txt", "½²³①.txt", "\ufffd.txt", "\ufffe.txt", "\U0010ffff.txt", "line\u2028separator.txt",
    "'; DROP TABLE files; --", "<script>alert(1).html", "{{7*7}}.txt", "${jndi:ldap:x}", "%s%n%x", "-rf",
    "true", "null", "undefined", "NaN", "Infinity", "0", "1e999", "-9223372036854775809", "9223372036854775808",
    "x" * 255, "ü" * 127, "語" * 85, "😀" * 63,
]  # fmt: skip

REFUSED = [
    "", " ", "\t", ".", "..", "...", ". .", "../x", "..\\x", "/etc/passwd", "C:\\x", "a/b", "x/", "\\", "/",
    "nul\0.txt", "\0", "new\nline.txt", "carriage\rreturn", "tab\there",
    "esc\x1b[31m.txt", "del\x7f", "c1\x85.txt", "bell\x07",
    "x" * 256, "ü" * 128, "語" * 86, "😀" * 64,
]  # fmt: skip

TEXTS = [*KEPT, *REFUSED, "\ud800", "x" * 100_000, "\\", "%", "_", "%_\\%", "[", "(", "*", "a" * 50 + "\0"]
