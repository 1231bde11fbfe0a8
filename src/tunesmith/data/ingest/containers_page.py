"""The table of exports and site trees in docs/guides/sources.md, made from the containers themselves."""

from __future__ import annotations

from tunesmith.data.ingest.containers import all_containers

__all__ = ["containers_table", "with_table"]

_BEGIN, _END = "<!-- made from the containers: begin -->", "<!-- made from the containers: end -->"
_ARTICLES = ("a ", "an ", "the ")


def containers_table() -> str:
    """What is taken from each kind of export, and what is left out; then those that are recognised and not read."""
    read = sorted((_named(one.title), one.taken, one.left_out) for one in all_containers() if one.entries)
    refused = sorted((_named(one.title), one.instead) for one in all_containers() if not one.entries)
    lines = ["| export | what is taken | what is left out |", "|---|---|---|"]
    lines += [f"| {_cell(title)} | {_cell(taken)} | {_cell(left_out)} |" for title, taken, left_out in read]
    if refused:
        lines += ["", "Recognised, and not read yet:", "", "| export | what to do |", "|---|---|"]
        lines += [f"| {_cell(title)} | {_cell(instead)} |" for title, instead in refused]
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with the table of today between its two marks. ValueError if it lacks them."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page lacks {_BEGIN} or {_END}")
    return f"{before}{_BEGIN}\n{containers_table()}\n{_END}{after}"


def _named(title: str) -> str:
    article = next((one for one in _ARTICLES if title.startswith(one)), "")
    bare = title.removeprefix(article)
    return bare[:1].upper() + bare[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
