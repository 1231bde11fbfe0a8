"""Publish a model or dataset on a hub, private by default. Example: tunesmith push run:latest me/my-voice --dry-run"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api.pushing import PushList

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    reference: Annotated[
        str,
        typer.Argument(help="First digits of an id, KIND:latest (run, model, dataset, export, release), a folder, or a file."),
    ],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub. It is created if it is missing.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and stop. Uses no network.")] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Let anybody read it. Without this, the repository is private.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking; needed in a script.")] = False,
    base: Annotated[str, typer.Option("--base", help="Base on the hub that the adapter is to name, as OWNER/NAME.")] = "",
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Also send rows of data that are in a model's folder.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="Send despite a finding, by its name: secrets, emails …; may be repeated."),
    ] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The exit code is 2 if something found in the files stops the push."""
    from tunesmith.api.pushing import push
    from tunesmith.cli.render import ConsoleReporter, console, print_json

    say = ConsoleReporter(console())
    agreed = yes or dry_run

    def confirm(listed: PushList) -> bool:
        _show(listed, quiet=json)
        return agreed or _asked(listed)

    result = push(
        reference,
        repository,
        project=project,
        dry_run=dry_run,
        public=public,
        base=base,
        with_data=with_data,
        allow=allow or [],
        confirm=confirm,
        reporter=say,
    )
    if json:
        print_json(result.as_dict())
    elif result.commit:
        say.end(
            {
                "published": f"{len(result.files)} files, every hash read back from the hub",
                "commit": result.commit,
                "open": result.url,
            }
        )
    else:
        say.end({"sent": "nothing" + (" (--dry-run)" if dry_run else "")})


def _show(listed: PushList, *, quiet: bool) -> None:
    """The files on stdout, unless that is kept for JSON; what the sender should know on stderr."""
    from tunesmith.cli.render import ConsoleReporter, console, table

    out = console()
    if not quiet:
        rows = [[file.path, f"{file.size:,}", file.sha256[:16], file.changed] for file in listed.files]
        table("", ["file", "bytes", "SHA-256", ""], rows)
    say = ConsoleReporter(out)
    seen = "PUBLIC: anybody can read it" if listed.public else "private"
    out.print(f"  {listed.origin} → {listed.repository} ({listed.repository_type}, {seen})")
    out.print(f"  {len(listed.files)} files, {listed.num_bytes:,} bytes")
    for one in listed.left_out:
        out.print(f"  stays here: {one.path} ({one.reason})")
    for finding in listed.findings:
        say.warn(f"{finding.name}: {finding.text}, {finding.count} in {', '.join(finding.places)}")
    for text in listed.warnings:
        say.warn(text)


def _asked(listed: PushList) -> bool:
    """Whether the person at the terminal agrees. Without a terminal, `--yes` must have said so."""
    from tunesmith.core.errors import HubError

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise HubError(
            "a push must be confirmed, and no terminal is there to ask at",
            value="not a terminal",
            expected="--yes to send these files, or --dry-run to see them alone",
            hint="read the list, then type the same command with --yes",
        )
    return typer.confirm(f"  Send {len(listed.files)} files to {listed.repository}?", default=False, err=True)
