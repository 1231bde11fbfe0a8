"""The `tunesmith` command: verbs, options, exit codes. Imports nothing heavy, so `--help` answers at once.

Exit codes: 0 pass or SHIP, 1 error, 2 DON'T SHIP or a blocking finding, 3 CAN'T TELL or not measured,
130 or 143 when stopped by Ctrl-C or SIGTERM with a checkpoint to go on from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    help="Fine-tune a small language model on your own writing, prove that it helped, and run it.\n\nExample: tunesmith demo",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ProjectDir = Annotated[Path, typer.Option("--project", help="Folder of the project; artifacts go to its .tunesmith.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="Recipe to use instead of PROJECT/tunesmith.yaml.")]
Sources = Annotated[
    list[str] | None, typer.Option("--source", help="Folder, file or address of writing; may be repeated. No recipe needed.")
]
Base = Annotated[
    str | None, typer.Option("--base", help="Base model: a name of `tunesmith bases`, a folder, a GGUF file, or a hub id.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing: neither a base nor an address.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting, such as train.epochs=3; may be repeated.")
]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", help="Continue despite a blocking check, by its name: secrets, leak, cut …")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Private = Annotated[
    bool, typer.Option("--allow-private", help="Let addresses of this machine and the local network be fetched.")
]


@app.callback()
def _top(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version, and end.")] = False
) -> None:
    if version:
        from tunesmith import __version__

        sys.stdout.write(f"tunesmith {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


@app.command()
def demo(
    project: ProjectDir = Path("."),
    base: Base = None,
    set_: Settings = None,
    json: Json = False,
    offline: Offline = False,
) -> None:
    """From the posts that come with Tunesmith to a verdict. Example: tunesmith demo --base apprentice"""
    from tunesmith.cli import run

    run.demo(run.Choice(project, None, [], base, set_ or [], [], False, offline), json=json)


@app.command()
def bases(
    fetch: Annotated[str, typer.Option("--fetch", help="Name of a base to get onto this machine.")] = "",
    json: Json = False,
) -> None:
    """List the base models known by name, or fetch one. Example: tunesmith bases --fetch smollm2"""
    from tunesmith.cli import bases as verb

    verb.bases(fetch, json=json)


@app.command()
def run(  # noqa: PLR0913 (the options of a verb)
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    source: Sources = None,
    base: Base = None,
    set_: Settings = None,
    allow: Allow = None,
    json: Json = False,
    allow_private: Private = False,
    offline: Offline = False,
) -> None:
    """From your writing to a verdict. Example: tunesmith run --source ./posts"""
    from tunesmith.cli import run as verb

    choice = verb.Choice(project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline)
    verb.run(choice, json=json)


def _stage(name: str, text: str) -> None:
    def command(  # noqa: PLR0913 (the options of a verb)
        project: ProjectDir = Path("."),
        recipe: RecipeFile = None,
        source: Sources = None,
        base: Base = None,
        set_: Settings = None,
        allow: Allow = None,
        json: Json = False,
        allow_private: Private = False,
        offline: Offline = False,
    ) -> None:
        from tunesmith.cli import run as verb

        choice = verb.Choice(project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline)
        verb.stage(name, choice, json=json)

    app.command(name, help=text)(command)


@app.command()
def ingest(
    sources: Annotated[list[str] | None, typer.Argument(help="Folders, files, addresses or hub data sets of writing.")] = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    source: Sources = None,
    base: Base = None,
    set_: Settings = None,
    json: Json = False,
    allow_private: Private = False,
) -> None:
    """Read sources into documents. Example: tunesmith ingest ./posts https://example.org/feed.xml --json"""
    from tunesmith.cli import ingest as verb
    from tunesmith.cli.run import Choice

    choice = Choice(project, recipe, [*(sources or []), *(source or [])], base, set_ or [], [], allow_private)
    verb.ingest(choice, json=json)


_stage("build", "Build and check the dataset, and stop there. Example: tunesmith build --source ./posts")
_stage("plan", "Print every number of the run and its reason; train nothing. Example: tunesmith plan --source ./posts")
_stage("train", "Train the adapter, and stop before the evaluation. Example: tunesmith train")
_stage("merge", "Merge base and adapter into one model folder. Example: tunesmith merge")


@app.command()
def init(
    source: Annotated[list[str] | None, typer.Option("--source", help="Where the writing is; may be repeated.")] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with data_, model_, training_ and evaluation_config.yaml to translate."),
    ] = None,
    project: ProjectDir = Path("."),
    print_: Annotated[bool, typer.Option("--print", help="Print the recipe instead of writing it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a recipe that is there.")] = False,
) -> None:
    """Write a commented recipe. Example: tunesmith init --source ./posts"""
    from tunesmith.cli import init as verb

    verb.init(source or [], from_, project, to_stdout=print_, force=force)


@app.command()
def chat(
    project: ProjectDir = Path("."),
    run: Annotated[str, typer.Option("--run", help="Id of a run, or run:latest.")] = "run:latest",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 200,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="In place of the temperature of the settings of use; 0 is greedy.")
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="The likeliest token each time: the same as --temperature 0.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws; by default that of the settings of use.")] = None,
) -> None:
    """Talk to base, adapter and merged model side by side; /help lists the commands. Example: tunesmith chat"""
    from tunesmith.cli import chat as verb

    verb.chat(project, run, max_new_tokens=max_new_tokens, temperature=0.0 if greedy else temperature, seed=seed)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Predictions of the first system, JSON lines.")],
    b: Annotated[Path, typer.Argument(help="Predictions of the second system on the same items.")],
    metric: Annotated[str, typer.Option(help="word_overlap, rouge_l, exact_match, …")] = "word_overlap",
    draws: Annotated[int, typer.Option(min=200, help="Draws of the bootstrap and the permutation test.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 7,
    json: Json = False,
) -> None:
    """Compare two prediction files, paired by item. Example: tunesmith compare base.jsonl tuned.jsonl --json"""
    from tunesmith.cli import compare as verb

    verb.compare(a, b, metric=metric, draws=draws, seed=seed, json=json)


@app.command()
def check(  # noqa: PLR0913 (the options of a verb)
    files: Annotated[list[Path], typer.Argument(help="A file of examples, or the splits of one dataset, a file each.")],
    base: Annotated[str, typer.Option("--base", help="Count tokens, cuts and labels with this model's tokenizer.")] = "",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=0, help="Tokens of an example; 0: the recipe's default.")] = 0,
    against: Annotated[Path | None, typer.Option("--against", help="Real queries to compare the prompts with.")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Write a copy without secrets and personal data to --out.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="File for the redacted copy.")] = None,
    cap: Annotated[float, typer.Option("--cap", min=0.01, max=1.0, help="Share of the rows one document may have.")] = 0.2,
    semantic: Annotated[
        str, typer.Option(help="Find rewordings between splits: by words, embeddings, or the folder of an encoder.")
    ] = "",
    json: Json = False,
) -> None:
    """Look for faults in examples, and for leaks between splits. Example: tunesmith check train.jsonl test.jsonl"""
    from tunesmith.cli import check as verb

    wanted = verb.Wanted(base=base, max_tokens=max_tokens, against=against, redact=redact, out=out, cap=cap, semantic=semantic)
    verb.check(files, wanted, json=json)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A file of examples: JSON, JSON lines, CSV or TSV.")],
    to: Annotated[str, typer.Option("--to", help="messages, sharegpt, alpaca, …; without it, say what FILE holds.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Read all rows as this format, whatever they look like.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="File to write (.json: an array); stdout without it.")] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Let go of what the format cannot hold, and count it.")] = False,
    json: Json = False,
) -> None:
    """Tell the format of examples, or change it. Example: tunesmith convert rows.jsonl --to messages --out messages.jsonl"""
    from tunesmith.cli import convert as verb

    verb.convert(file, to=to, from_=from_, out=out, lossy=lossy, json=json)


@app.command()
def dedup(
    files: Annotated[list[Path], typer.Argument(help="JSON lines with id and text, or examples; several are taken together.")],
    threshold: Annotated[float, typer.Option(help="Share of common five-word runs from which two rows are copies.")] = 0.8,
    semantic: Annotated[
        str,
        typer.Option(help="words, embeddings, or the folder of an encoder: rows that say the same otherwise are copies too."),
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="New folder for the files without the copies.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for more than one machine.")] = "local",
    workers: Annotated[int, typer.Option(min=0, help="Threads of the local engine; 0: one a core.")] = 0,
    json: Json = False,
) -> None:
    """Find copies and near copies. Example: tunesmith dedup rows.jsonl --threshold 0.8 --json"""
    from tunesmith.cli import dedup as verb

    verb.dedup(files, threshold=threshold, semantic=semantic, out=out, engine=engine, workers=workers, json=json)


@app.command()
def split(  # noqa: PLR0913 (the options of a verb)
    file: Annotated[Path, typer.Argument(help="JSON lines: examples, or texts with id and text.")],
    by: Annotated[str, typer.Option(help="document, thread, author, time, group or row.")] = "document",
    val: Annotated[float, typer.Option(help="Share of units for early stopping.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of units for the verdict.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed draws another split.")] = 7,
    group: Annotated[str, typer.Option(help="With --by group: the column that is kept on one side.")] = "",
    stratify: Annotated[str, typer.Option(help="A column of labels that every split must have.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="New folder for train, val, test and the removed copies.")] = None,
    json: Json = False,
) -> None:
    """Split rows without leaks; new rows never move old ones. Example: tunesmith split rows.jsonl --by document --json"""
    from tunesmith.cli import split as verb

    verb.split(file, by=by, val=val, test=test, seed=seed, columns=(group, stratify), out=out, json=json)


@app.command()
def golden(
    action: Annotated[str, typer.Argument(help="add, list or verify.")],
    files: Annotated[list[Path] | None, typer.Argument(help="With add: files of examples or documents.")] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """Keep examples that no training may ever see. Example: tunesmith golden add questions.jsonl"""
    from tunesmith.cli import golden as verb

    verb.golden(action, files or [], project, json=json)


@app.command()
def selftest(
    base: Annotated[str, typer.Option("--base", help="Base model: a name, a folder, a GGUF file, or a hub id.")] = "apprentice",
    json: Json = False,
) -> None:
    """Measure what training promises, on this machine: exit 0 or 2. Example: tunesmith selftest --json"""
    from tunesmith.cli import selftest as verb

    verb.selftest(base, json=json)


@app.command()
def review(
    file: Annotated[Path, typer.Argument(help="A file of examples: JSON, JSON lines, CSV or TSV.")],
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="How many rows to read at most.")] = 50,
    apply: Annotated[Path | None, typer.Option("--apply", help="Decisions that the page saved, to be applied.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The page; with --apply, the reviewed file.")] = None,
    json: Json = False,
) -> None:
    """Make a page to read a sample of rows, or apply what was decided. Example: tunesmith review train.jsonl"""
    from tunesmith.cli import review as verb

    verb.review(file, rows=rows, decisions=apply, out=out, json=json)


@app.command()
def synth(
    kind: Annotated[str, typer.Argument(help="self_instruct, evolve, distil, preference or score.")],
    file: Annotated[Path, typer.Argument(help="Examples (or prompts) to begin with.")],
    out: Annotated[Path, typer.Option("--out", help="File to write, JSON lines; a report is put beside it.")],
    count: Annotated[int, typer.Option(min=1, help="New tasks wanted (self_instruct).")] = 100,
    threshold: Annotated[float, typer.Option(min=1, max=5, help="Mean grade that is kept (score).")] = 3.5,
    project: ProjectDir = Path("."),
    set_: Settings = None,
    json: Json = False,
) -> None:
    """Let a language model write or grade examples. Example: tunesmith synth score train.jsonl --out good.jsonl"""
    from tunesmith.cli import run
    from tunesmith.cli import synth as verb

    choice = run.Choice(project, None, [str(file)], None, set_ or [], [], False)
    verb.synth(kind, file, out, choice, count=count, threshold=threshold, json=json)


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="First digits of an id, or KIND:latest; nothing lists all.")] = "",
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """Show what an artifact holds. Example: tunesmith show run:latest"""
    from tunesmith.cli import show as verb

    verb.show(id, project, json=json)


@app.command()
def path(
    id: Annotated[str, typer.Argument(help="First digits of an id, or KIND:latest.")],
    project: ProjectDir = Path("."),
) -> None:
    """Print the folder of an artifact. Example: cd $(tunesmith path eval:latest)"""
    from tunesmith.cli import show as verb

    verb.path(id, project)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake becomes a message and an exit code, our own mistake a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # OpenMP threads that spin for long starve each other when anything else is busy: 8 to 17 times slower (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=typed, prog_name="tunesmith", standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on where it was\n")
        sys.exit(130)
    except Exception as error:
        from tunesmith.cli.render import exit_code_of

        code = exit_code_of(error, typed)
        if code is None:
            raise
        sys.exit(code)
