"""How far each stored form of a base is from it in float32: what the limits of `tunesmith parity` rest on.

    python benchmarks/bench_parity_forms.py ask gguf-q6_k mlx-bf16 int8 … --base smollm2 --rows ROWS.jsonl --save forms.jsonl
    python benchmarks/bench_parity_forms.py write forms.jsonl

A form is made of the base as an export makes it of a merged model, opened as `tunesmith parity` opens it, and scored on the
references of `ROWS`. GGUF mixtures are made without an importance matrix; an export with one may be nearer. Of each row the
first `--tokens` are used. A line is saved for each form.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from record import write_result
from tunesmith.core.artifacts import Store
from tunesmith.core.records import Message
from tunesmith.eval.parity_apart import Scored, compare_scores
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.use import GREEDY_USE
from tunesmith.ship.format import ExportSource, find_format
from tunesmith.systems.opening import Opening, open_system


def source_of(base: BaseFolder, chat: Chat, rows: list[Encoded]) -> ExportSource:
    """The base in the place of a merged model."""
    about: dict[str, Any] = {"name": "base", "base": base, "adapter": base.path, "merged": base, "chat": chat}
    return ExportSource(**about, rows=rows, context=1024, use=GREEDY_USE)


def encoded(chat: Chat, file: Path, tokens: int, count: int) -> list[Encoded]:
    """The first rows of a file, cut."""
    found = []
    for line in file.read_text().splitlines()[:count]:
        row = chat.encode_answer([Message(role=m["role"], content=m["content"]) for m in json.loads(line)["messages"]])
        found.append(Encoded(tuple(row.ids[:tokens]), tuple(row.learned[:tokens])))
    return [row for row in found if any(row.learned)]


def ask(arguments: argparse.Namespace) -> None:
    """One line for each form that has none yet."""
    done = {json.loads(line)["form"] for line in arguments.save.open()} if arguments.save.is_file() else set()
    base = find_base(arguments.base)
    chat = open_chat(base)
    rows = encoded(chat, arguments.rows, arguments.tokens, arguments.count)
    scored = [Scored(row, row.learned.index(True), is_reference=True) for row in rows]
    how = Opening(store=Store(Path("nowhere")))
    with open_system(arguments.base, how) as whole, arguments.save.open("a") as out:
        for name in (one for one in arguments.forms if one not in done):
            kind, _, quant = name.partition("-")
            form = find_format(kind)
            with tempfile.TemporaryDirectory() as place:
                made = form.write(source_of(base, chat, [] if kind == "gguf" else rows), Path(place), form.checked_quant(quant))
                begun = time.process_time()
                with form.open(source_of(base, chat, rows), Path(place) / made.main) as opened:
                    found = compare_scores(whole, opened, scored, on_done=lambda count: None).apart
                if found is None:
                    raise SystemExit(f"{name}: nothing could be compared")
                line = {"form": name, "judged_as": opened.form, "positions": found.num_positions, "what": found.what}
                line |= {"max_abs": found.max_abs, "mean_kl": found.mean_kl, "top1": found.top1}
                line |= {"perplexity_ratio": found.perplexity_ratio, "own_cpu_s": time.process_time() - begun}
                line["mb"] = sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file()) / 1e6
            out.write(json.dumps(line) + "\n")
            out.flush()
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("ask")
    one.add_argument("forms", nargs="+", help="FORMAT or FORMAT-QUANT, as in `tunesmith export --formats`")
    one.add_argument("--base", default="smollm2")
    one.add_argument("--rows", type=Path, required=True)
    one.add_argument("--count", type=int, default=24)
    one.add_argument("--tokens", type=int, default=96)
    one.add_argument("--save", type=Path, required=True)
    two = verbs.add_parser("write")
    two.add_argument("saved", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "ask":
        ask(arguments)
    else:
        rows = [json.loads(line) for line in arguments.saved.open()]
        write_result("parity-forms", {"base": "SmolLM2-135M-Instruct", "against": "transformers, float32"}, rows)


if __name__ == "__main__":
    main()
