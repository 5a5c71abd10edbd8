"""The forms of the admin's pages, as a browser reads them."""

from __future__ import annotations

from html.parser import HTMLParser


class Fields(HTMLParser):
    """What a browser would send of the queue's form."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._is_inside = False
        self._text_of: str | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name = given.get("name")
        if tag == "form":
            self._is_inside = given.get("id") == "queue_form"
        elif self._is_inside and name and tag == "textarea":
            self.values[name], self._text_of = "", name
        elif self._is_inside and name and tag == "input" and given.get("type") != "submit":
            self.values[name] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._text_of:
            self.values[self._text_of] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False
        if tag == "textarea" and self._text_of:
            text = self.values[self._text_of].removeprefix("\n").removeprefix("\r\n")
            self.values[self._text_of], self._text_of = text, None


def fields_of(page: str) -> dict[str, str]:
    fields = Fields()
    fields.feed(page)
    return fields.values
