"""Bundle a finished model so that anybody can check it. Example: tunesmith release --form merged --sign key.pem"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    run: Annotated[
        str, typer.Argument(help="First digits of a run's id; or `verify` and the folder of a release.")
    ] = "run:latest",
    folder: Annotated[Path | None, typer.Argument(help="With verify: the folder of the release.")] = None,
    form: Annotated[
        list[str] | None,
        typer.Option("--form", help="adapter, merged, or an export such as gguf-q8_0; may be repeated. All by default."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model on the card.")] = "",
    allow_unproven: Annotated[
        bool, typer.Option("--allow-unproven", help="Release without the verdict SHIP; the card says so at its top.")
    ] = False,
    with_writing: Annotated[
        bool, typer.Option("--with-writing", help="Include the training rows and the evidence, which quotes them.")
    ] = False,
    sign: Annotated[Path | None, typer.Option("--sign", help="Private key (elliptic curve, PEM) to sign with.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="With verify: the public key that must have signed it.")] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """`verify` exits with 2 and names what is wrong. It needs no network and no project."""
    if run == "verify":
        _verify(folder or Path("."), key, json=json)
        return
    from tunesmith.api.releasing import release
    from tunesmith.cli.render import console, print_json
    from tunesmith.core.errors import ArtifactError

    if folder is not None or key is not None:
        raise ArtifactError(
            "a release is made from one run",
            value=str(folder or key),
            expected="a run's id and no folder; --key and a folder belong to verify",
            hint=f"tunesmith release verify {folder or 'DIR'}",
        )
    made = release(
        run, forms=form or [], name=name, allow_unproven=allow_unproven, with_writing=with_writing, sign=sign, project=project
    )
    if json:
        print_json(made.as_dict())
        return
    signed = ", signed" if made.signed else ""
    console().print(f"  {made.path}: {made.files} files, verdict {made.verdict or 'not measured'}{signed}")
    console().print(f"  read its card: {made.path / 'card.html'}")
    console().print(f"  check it anywhere: tunesmith release verify {made.path}")


def _verify(folder: Path, key: Path | None, *, json: bool) -> None:
    from tunesmith.api.releasing import verify_release
    from tunesmith.cli.render import console, print_json

    checked = verify_release(folder, key=key)
    if json:
        print_json(checked.as_dict())
    else:
        for fault in checked.faults:
            console().print(f"  WRONG  {fault}")
        for note in checked.notes:
            console().print(f"  note   {note}")
        again = " (computed again from its evidence)" if checked.recomputed else ""
        signed = ", signature valid" if checked.signed else ""
        if checked.ok:
            console().print(f"  {folder}: whole, verdict {checked.verdict}{again}{signed}")
    sys.exit(0 if checked.ok else 2)
