"""The program that turns one hostile Markdown text into harmless HTML. markdown.py runs it by itself: no webapp here.

It reads UTF-8 from standard input and writes HTML to standard output: text, headings, lists, tables, code, links to
other sites. Nothing is loaded by whoever looks at it: a picture becomes a link.
"""

import os
import resource
import sys
from typing import Any

CPU_SECONDS = 2
MEMORY = 512 * 1024**2  # bytes of address space
DEEPEST = 20  # of quotes and lists in one another; what is deeper is text
TAGS = {"p", "br", "hr", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol",
        "li", "a", "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
SCHEMES = {"http", "https", "mailto"}
HIDDEN = {"script", "style", "template", "title", "noscript", "iframe", "textarea"}


def limit_process() -> None:
    """Take from this process what it never needs."""
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NPROC, 0),
                       (resource.RLIMIT_CORE, 0)):  # fmt: skip
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    os.nice(5)


def render(text: str) -> str:
    """The HTML. Tags in the text are shown as they are written, not obeyed."""
    import nh3
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _as_link)
    parser.core.ruler.push("lower", _lower_headings)
    return nh3.clean(
        parser.render(text),
        tags=TAGS,
        clean_content_tags=HIDDEN,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        attribute_filter=_filtered,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )


def _as_link(renderer: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    from markdown_it.common.utils import escapeHtml

    token = tokens[place]
    words = renderer.renderInlineAsText(token.children or [], options, env) or token.attrs.get("src", "")
    return f'<a href="{escapeHtml(str(token.attrs.get("src", "")))}">{escapeHtml(words)}</a>'


def _lower_headings(state: Any) -> None:
    """The page around it has the first level."""
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"


def _filtered(_tag: str, name: str, value: str) -> str | None:
    """Links to other sites only: a relative one would lead into the vault's own pages."""
    known = value.partition(":")[0].lower() in SCHEMES if name == "href" else name != "start" or value.isdigit()
    return value if known else None


def main() -> None:
    """Standard input to standard output; a fault ends the process with another code than 0."""
    sys.setrecursionlimit(2000)
    limit_process()
    html = render(sys.stdin.buffer.read().decode("utf-8", "replace"))
    sys.stdout.buffer.write(html.encode())
    sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
