"""HTML as a page shows it that trusts no notebook: with the elements and attributes that GitHub allows."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

ELEMENTS = re.compile(
    r"h[1-6]|br|b|i|strong|em|a|pre|code|img|tt|div|ins|del|sup|sub|p|ol|ul|table|thead|tbody|tfoot|blockquote|dl|dt|dd|kbd|"
    r"q|samp|var|hr|ruby|rt|rp|li|tr|td|th|s|strike|summary|details|caption|figure|figcaption|abbr|bdo|cite|dfn|mark|small|"
    r"span|time|wbr"
)
"""What GitHub's html-pipeline allows in the pages that users write."""
WITHOUT_CONTENT = {"script", "style", "iframe", "svg", "object", "noscript", "template"}
"""What goes together with what is in it."""
ATTRIBUTES = {"align", "alt", "border", "colspan", "height", "href", "rowspan", "src", "title", "width"}
"""Those that are used; `style`, `id`, `class` and those of events are not among them."""


def sanitized(html: str) -> str:
    """Return HTML without what is not allowed."""
    cleaner = _Cleaner()
    cleaner.feed(html)
    return cleaner.kept


def text_of(html: str) -> str:
    """Return what HTML says to a reader, its white space made even."""
    cleaner = _Cleaner()
    cleaner.feed(html.replace("<wbr>", ""))  # it is seen only where a line is broken
    return " ".join(" ".join(cleaner.texts).split())


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.kept = ""
        self.texts: list[str] = []
        self._dropped = ""
        self._deep = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropped:
            self._deep += tag == self._dropped
        elif tag in WITHOUT_CONTENT:
            self._dropped, self._deep = tag, 1
        elif ELEMENTS.fullmatch(tag):
            kept = (f' {name}="{escape(value or "")}"' for name, value in attrs if name in ATTRIBUTES)
            self.kept += f"<{tag}{''.join(kept)}>"

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            self._deep -= tag == self._dropped
            self._dropped = self._dropped if self._deep else ""
        elif ELEMENTS.fullmatch(tag):
            self.kept += f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if not self._dropped:
            self.kept += escape(data)
            self.texts.append(data)
