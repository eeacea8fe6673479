"""Reading the pages that commands write, as a parser and as a browser see them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

_NO_END = {"meta", "img", "input", "br", "use", "path", "rect", "image", "link"}


class Page(HTMLParser):
    """Text, tables, links, names and data of a page; refuses one whose tags do not pair."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.names, self.images, self.tables = "", [], {}, []
        self.data: dict[str, Any] = {}
        self.links: list[str] = []
        self._open: list[str] = []
        self._data_name: str | None = None
        self.feed(text)
        self.close()
        assert not self._open, f"{self._open} stay open"

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[k] for k in ("src", "href", "xlink:href", "data") if k in found]
        self.links += re.findall(r"url\(([^)]*)\)", found.get("style") or "")
        if "id" in found:
            self.names.append(found["id"])
        if tag == "img":
            self.images.setdefault(found.get("class"), []).append(found["src"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "script" and found.get("type") == "application/json":
            self._data_name = found["id"]
        if tag not in _NO_END:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in _NO_END:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in _NO_END:
            assert self._open.pop() == tag
        self._data_name = None

    def handle_data(self, data):
        if self._data_name:
            self.data[self._data_name] = json.loads(data)
        elif not {"script", "style"} & set(self._open):
            self.text += data
            if self._open and self._open[-1] in ("td", "th"):
                self.tables[-1][-1][-1] += data

    def check_it_stands_alone(self):
        """Nothing in it comes from elsewhere, and every link inside leads somewhere."""
        for link in self.links:
            assert re.match(r"data:image/(png|jpeg);base64,|#", link), link[:80]
            assert not link.startswith("#") or link[1:] in self.names, link


def read_page(path: str | Path) -> Page:
    """Parse a page, which must stand alone and be below 3 MB."""
    text = Path(path).read_text(encoding="utf-8")
    assert len(text.encode()) < 3_000_000
    assert "http://" not in text
    assert "https://" not in text
    page = Page(text)
    page.check_it_stands_alone()
    return page


def browser() -> str:
    """A headless browser; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        pytest.skip("needs chromium")
    return found


def browse(folder: Path, address: str, *options: str) -> tuple[str, str]:
    """What a headless browser prints and logs about an address."""
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}", *options]
    done = subprocess.run(
        [*command, address], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout, done.stderr
