"""Judges on real labels: what calibration finds, against an independent computation, and whether intervals keep their promise.

python benchmarks/bench_judges.py labels --shared ../shared/data/judge --record
python benchmarks/bench_judges.py published --pandalm PandaLM/data --record
python benchmarks/bench_judges.py orders --qlora qlora/eval/ratings-gpt4/vicuna/pairwise --record
python benchmarks/bench_judges.py kappa --sets 1000 --record
python benchmarks/bench_judges.py rates --sets 2000 --record
python benchmarks/bench_judges.py votes --judge smollm2 --replies DIR --record

`labels`: auto-j's 1,392 pairs and FairEval's 80 with people's labels (without verdicts of a judge), judged by programs:
at random, by length, by place, always the same, and people's own label with a known share of noise. κ is compared with that of
scikit-learn. `published`: the same for real judges and for people, `orders`: what a real judge changes on swap, on files that
`published_judges.py` names. `kappa`: how often the 95 % interval of κ covers the truth in simulated label sets, pairs
clustered by prompt. `rates`: how often the interval of a corrected win rate covers the truth (`simulated_judges.py`), with
labels drawn at random or by the active choice; and what the judge's own interval would cover. `votes`: a local judge on the
forty votes that a person cast on the real base (`results/arena-smollm2-2026-11-29`), once held to the form of a verdict and
once free; `--replies` is a folder that keeps replies, so that a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from published_judges import by_people, in_both_orders
from record import write_result
from simulated_judges import Simulated, simulate
from tunesmith.api import arena_export, calibrate_judge
from tunesmith.eval.judge.calibration import calibrate_pairs
from tunesmith.eval.judge.kappa import kappa, kappa_of_cells
from tunesmith.eval.judge.rows import LABELS, JudgedPair, Label

NOISE = 0.15
VOTES = Path(__file__).parent / "results" / "arena-smollm2-2026-11-29"
FREE_TOKENS = 200
Verdict = Callable[[JudgedPair, random.Random], tuple[Label, Label]]


def main() -> None:
    """Print the rows as they come, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["labels", "published", "orders", "kappa", "rates", "votes"])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data/judge"), help="folder of auto-j and faireval")
    parser.add_argument("--pandalm", type=Path, default=Path("PandaLM/data"), help="folder of PandaLM's labels and verdicts")
    parser.add_argument("--qlora", type=Path, default=Path("qlora"), help="folder of GPT-4's verdicts in both orders")
    parser.add_argument("--sets", type=int, default=1000, help="simulated label sets in each cell")
    parser.add_argument("--judge", default="smollm2", help="a local model that judges the kept votes")
    parser.add_argument("--replies", type=Path, default=Path("judged-votes"), help="folder in which its replies are kept")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    rows = []
    work = {
        "labels": lambda: on_labels(asked.shared),
        "published": lambda: by_people(asked.pandalm),
        "orders": lambda: in_both_orders(asked.qlora),
        "kappa": lambda: coverage(asked.sets),
        "rates": lambda: rates(asked.sets),
        "votes": lambda: on_votes(asked.judge, asked.replies),
    }
    for row in work[asked.what]():
        print(row, flush=True)
        rows.append(row)
    if asked.record:
        theme = "judges" if asked.what == "labels" else f"judges-{asked.what}"
        simulated = {"sets in a cell": asked.sets, "level": 0.95}
        works = {
            "labels": {"noise": NOISE},
            "published": {"intervals": "95 %, clustered by prompt"},
            "orders": {"pairs of systems": 28},
            "votes": {"judge": asked.judge, "replies of at most": f"{FREE_TOKENS} tokens if free"},
        }
        write_result(theme, works.get(asked.what, simulated), rows)


def on_votes(judge: str, replies: Path) -> Iterator[dict[str, Any]]:
    """A local judge calibrated on the kept votes, held to the form of a verdict and free."""
    project = replies / "votes"
    kept = project / "arenas" / json.loads((VOTES / "manifest.json").read_bytes())["id"][:16]
    if not kept.exists():
        shutil.copytree(VOTES, kept)
    labels = replies / "labels.jsonl"
    arena_export(labels, kind="labels", project=project)
    for form, settings in (
        ("held to the form", {}),
        ("free", {"judge.json_schema": False, "judge.max_reply_tokens": FREE_TOKENS}),
    ):
        asked = {"judge.concurrency": 16, **settings}
        found = calibrate_judge(labels, judge=judge, project=replies / form.split()[0], settings=asked).as_dict()
        kappa, work = found["kappa"], found["judge"]
        yield {
            "replies": form,
            "pairs": found["n"],
            "pairs without a verdict": found["unparsed"],
            "agreement": _said(found["agreement"]),
            "kappa": _said(kappa["value"]),
            "ci": "not measured" if kappa["ci"] is None else "{:.2f} to {:.2f}".format(*kappa["ci"]),
            "reversed": _said(found["reversed"]),
            "prefers the first": _said(found["position_preference"]),
            "same when asked again": _said(found["retest"]),
            "requests": work["requests"],
            "tokens": work["tokens"],
            "may gate": found["may_gate"],
            "why": [found["why"]],
        }


def _said(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def auto_j(folder: Path) -> list[JudgedPair]:
    """The 1,392 pairs of auto-j; its scenario is not a cluster, its prompt is."""
    rows = [json.loads(line) for line in (folder / "auto-j-pairwise.jsonl").read_bytes().split(b"\n") if line]
    return [
        JudgedPair(id=str(n), prompt=row["prompt"], a=row["response 1"], b=row["response 2"], human=LABELS[row["label"]])
        for n, row in enumerate(rows)
    ]


def faireval(folder: Path) -> list[JudgedPair]:
    """FairEval's 80 questions, answered by GPT-3.5 and Vicuna-13B."""

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "faireval" / name).read_bytes().split(b"\n") if line]

    words = re.findall(r"CHATGPT|VICUNA13B|TIE", (folder / "faireval/review/review_gpt35_vicuna-13b_human.txt").read_text())
    label: dict[str, Label] = {"CHATGPT": "A", "VICUNA13B": "B", "TIE": "tie"}
    columns = (read("question.jsonl"), read("answer/answer_gpt35.jsonl"), read("answer/answer_vicuna-13b.jsonl"), words)
    return [
        JudgedPair(id=str(q["question_id"]), prompt=q["text"], a=a["text"], b=b["text"], human=label[word])
        for q, a, b, word in zip(*columns, strict=True)
    ]


def noisy(pair: JudgedPair, chance: random.Random) -> tuple[Label, Label]:
    """People's label but for a share of noise, the same in both orders."""
    said = chance.choice(LABELS) if chance.random() < NOISE or pair.human is None else pair.human
    return said, said


def longer(pair: JudgedPair) -> Label:
    """The longer answer."""
    return "A" if len(pair.a) > len(pair.b) else "B" if len(pair.a) < len(pair.b) else "tie"


JUDGES: dict[str, Verdict] = {
    "random": lambda pair, chance: (chance.choice(LABELS), chance.choice(LABELS)),
    "longer": lambda pair, chance: (longer(pair), longer(pair)),
    "first": lambda pair, chance: ("A", "B"),
    "constant": lambda pair, chance: ("A", "A"),
    "people with noise": noisy,
}


def on_labels(folder: Path) -> Iterator[dict[str, Any]]:
    """One row for each set and judge."""
    for name, pairs in (("auto-j", auto_j(folder)), ("faireval", faireval(folder))):
        for judge, verdict in JUDGES.items():
            chance = random.Random(7)
            judged = [_with(pair, *verdict(pair, chance)) for pair in pairs]
            found = calibrate_pairs(judged)
            other = float(cohen_kappa_score([p.human for p in judged], [p.judge for p in judged]))
            low, high = found.kappa.ci or (float("nan"), float("nan"))
            yield {
                "set": name,
                "judge": judge,
                "pairs": found.n,
                "prompts": found.prompts,
                "kappa": found.kappa.value,
                "scikit-learn": other,
                "low": low,
                "high": high,
                "reversed": found.reversed.value,
                "first": found.position_preference.value,
                "longer": found.length_preference.value,
                "may gate": found.may_gate,
            }


def _with(pair: JudgedPair, judge: Label, swapped: Label) -> JudgedPair:
    return JudgedPair(
        id=pair.id,
        prompt=pair.prompt,
        a=pair.a,
        b=pair.b,
        human=pair.human,
        judge=judge,
        judge_swapped=swapped,
        has_judge=True,
        has_swapped=True,
    )


def coverage(sets: int) -> Iterator[dict[str, Any]]:
    """Prompts differ in difficulty: the judge's accuracy on a prompt's pairs is drawn once a prompt (Beta with `spread`)."""
    shares = np.array([0.45, 0.35, 0.2])
    for accuracy, prompts, each, spread in itertools.product((0.6, 0.8, 0.95), (20, 50, 200), (1, 4), (0.3,)):
        chance = np.random.default_rng([prompts, each, round(100 * accuracy)])
        truth = _truth(accuracy, shares)
        hits = below = above = 0
        widths = []
        for _ in range(sets):
            people = chance.choice(3, prompts * each, p=shares)
            scale = (1 - spread) / spread
            level = np.repeat(chance.beta(accuracy * scale, (1 - accuracy) * scale, prompts), each)
            off = (people + chance.integers(1, 3, people.size)) % 3
            judge = np.where(chance.random(people.size) < level, people, off)
            groups = [str(n // each) for n in range(people.size)]
            found = kappa(people.astype(str).tolist(), judge.astype(str).tolist(), groups, draws=1000)
            if found.ci is not None:
                hits += found.ci[0] <= truth <= found.ci[1]
                below, above = below + (found.ci[1] < truth), above + (found.ci[0] > truth)
                widths.append(found.ci[1] - found.ci[0])
        yield {
            "accuracy": accuracy,
            "prompts": prompts,
            "pairs a prompt": each,
            "kappa": truth,
            "covers %": 100 * hits / sets,
            "too low %": 100 * below / sets,
            "too high %": 100 * above / sets,
            "width": float(np.mean(widths)),
        }


def rates(sets: int) -> Iterator[dict[str, Any]]:
    """One row for each way of choosing labels, and the same simulations split by the judge's accuracy and by labels."""
    for way in ("random", "active"):
        found = [simulate(number, active=way == "active") for number in range(sets)]
        parts: dict[str, Callable[[Simulated], bool]] = {
            "all": lambda one: True,
            "accuracy below 0.7": lambda one: one.accuracy < 0.7,
            "accuracy above 0.85": lambda one: one.accuracy > 0.85,
            "fewer than 100 labels": lambda one: one.labels < 100,
        }
        for name, keep in parts.items():
            kept = [one for one in found if keep(one)]
            yield {
                "labels chosen": way,
                "simulations": name,
                "n": len(kept),
                "covers %": 100 * float(np.mean([one.covers for one in kept])),
                "width": float(np.mean([one.width for one in kept])),
                "labels alone, width": float(np.mean([one.people_width for one in kept])),
                "judge alone covers %": 100 * float(np.mean([one.judge_covers for one in kept])),
            }


def _truth(accuracy: float, shares: Any) -> float:
    cells = np.diag(shares) * accuracy
    for one, other in itertools.permutations(range(3), 2):
        cells[one, other] = shares[one] * (1 - accuracy) / 2
    return float(kappa_of_cells(cells))


if __name__ == "__main__":
    main()
