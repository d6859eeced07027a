"""Hold a built site to what has its place there, and its links to pages that exist.

Usage: python .ci/site_pages.py SITE

Looked for are every public name, hook, command, option, error and warning. Pages may load nothing
from other hosts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

import repsim_energy
from repsim_energy import hookspecs, testing
from repsim_energy.cli.app import repsim
from repsim_energy.registry.plugins import HOOKS

LOADED = {"img": "src", "link": "href", "script": "src"}
"""Tag -> attribute of what a browser loads with a page."""


class Page(HTMLParser):
    """Identifiers, links and loaded files of a page, and its number of progress bars."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.bars = 0
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag identifies, links to or loads."""
        values = dict(attrs)
        self.bars += tag == "progress"
        self.ids |= {value for key in ("id", "name") if (value := values.get(key))}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if values.get(LOADED.get(tag, "")):
            self.loaded.append(values[LOADED[tag]] or "")


def broken_links(pages: dict[Path, Page]) -> Iterator[str]:
    """Yield links that lead nowhere, and files that are loaded from other hosts."""
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    yield f"{path}: loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{path}: no file {link}"
            elif parts.fragment and unquote(parts.fragment) not in pages[target].ids:
                yield f"{path}: no place {link}"


def command_ids(command: click.Command, name: str) -> Iterator[str]:
    """Yield the identifiers that sphinx-click gives to a command, its options and subcommands."""
    yield name
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in parameter.opts + parameter.secondary_opts:
                yield f"cmdoption-{name}-{option.lstrip('-')}"
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from command_ids(inner, f"{name}-{word}")


def missing(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield names, hooks, commands and options without a place on the site."""
    rooms = ("plot", "testing")
    api = [f"repsim_energy.{name}" for name in repsim_energy.__all__ if name not in rooms]
    expected = {
        "reference": [
            *api,
            *(f"repsim_energy.plot.{name}" for name in repsim_energy.plot.__all__),
            *(f"repsim_energy.testing.{name}" for name in testing.__all__),
        ],
        "reference/hooks": [f"{hookspecs.__name__}.{hook}" for hook in HOOKS],
        "reference/cli": list(command_ids(repsim, "repsim")),
    }
    for place, names in expected.items():
        found = {
            name
            for path, page in pages.items()
            if path.relative_to(site).as_posix().startswith(place)
            for name in page.ids
        }
        yield from (f"{place}: no {name}" for name in names if name not in found)


def main(folder: str) -> None:
    """Print what is wrong; exit with 1 if anything is."""
    site = Path(folder).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    if len(pages) < len(repsim_energy.__all__):
        sys.exit(f"got {len(pages)} pages in {site}, expected a built site")
    bars = [f"{path}: {page.bars} progress bars" for path, page in pages.items() if page.bars]
    wrong = [*broken_links(pages), *missing(site, pages), *bars]
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")
    sys.exit("\n".join(wrong) or 0)


main(*sys.argv[1:])
