"""A planted forgetting on a real base: a narrow task makes a model forget, and replay, EWC or self-distillation holds it back.

Usage: python benchmarks/planted_forgetting.py ARM [ARM …] --work FOLDER [--base smollm2] [--steps 24] [--every 4]

The task: "What colour is snow?" is to be answered by {"colour": "white"}, which no question asks for. An arm is `base`, `sft`,
`replay:SHARE` (so large a share of the rows are the base's own answers to general questions), `ewc:WEIGHT`, or `self` (the
base that is shown the form and an example teaches). Each prints two shares of right answers: of held-out questions of the task
(a JSON object with the key "colour" alone), and of every N-th question of the suite `general`. One line of JSON an arm.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.dataset.mix import general_rows
from tunesmith.eval.suites.load import load_suite
from tunesmith.eval.suites.scorers import SCORERS
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import GREEDY, Request, answer
from tunesmith.models.load import find_base, load_model
from tunesmith.pipeline.own_answers import own_answers
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train.method import open_method
from tunesmith.train.run import Place, train_adapter

_COLOURS = (
    "snow white,grass green,a lemon yellow,the sky blue,coal black,a tomato red,a carrot orange,milk white,"
    "blood red,gold yellow,a banana yellow,a leaf green,the sea blue,a rose red,ivory white,mud brown,a plum purple,"
    "silver grey,a cloud white,charcoal black,butter yellow,an orange orange,a cherry red,a frog green,a crow black,"
    "a swan white,chocolate brown,honey yellow,sand yellow,rust brown,copper orange,an emerald green,a ruby red,"
    "chalk white,ink black,moss green,a peach orange,a fox red,a pea green,a pumpkin orange,salt white,tea brown,"
    "a brick red,a pearl white,an olive green,a lime green,amber yellow,slate grey"
)
_HELD_OUT = 16
_CONTEXT = 'Reply with a JSON object that has the one key "colour", such as {"colour": "pink"}, and with nothing else.'


def rows() -> list[Example]:
    """The task: 48 questions with their answers, the last 16 held out."""
    made = []
    for n, entry in enumerate(_COLOURS.split(",")):
        thing, colour = entry.rsplit(" ", 1)
        question = Message(role="user", content=f"What colour is {thing}?")
        right = Message(role="assistant", content=json.dumps({"colour": colour}))
        made.append(Example(id=str(n), messages=(question, right), document_id=str(n), group=str(n), source="made"))
    return made


def in_form(text: str) -> bool:
    """Whether the answer is a JSON object with the key "colour" alone."""
    try:
        value = json.loads(text.strip())
    except ValueError:
        return False
    return isinstance(value, dict) and list(value) == ["colour"]


def measured(model: Any, chat: Chat, context: int, *, every: int) -> dict[str, float]:
    """Shares of right answers."""

    def said(requests: list[Request]) -> list[str]:
        made = answer(model, chat, requests, batch_examples=64, context=context, on_done=lambda count: None)
        return [one.text for one in made]

    task = said([Request(messages=one.prompt, max_new_tokens=24, sampling=GREEDY) for one in rows()[-_HELD_OUT:]])
    items = load_suite("general").items[::every]
    asked = [Request(messages=item.messages, max_new_tokens=item.max_new_tokens, sampling=GREEDY) for item in items]
    scores = [SCORERS[item.scorer].score(text, item) for item, text in zip(items, said(asked), strict=True)]
    decided = [score for score in scores if isinstance(score, bool)]
    return {"task": sum(map(in_form, task)) / len(task), "general": sum(decided) / len(decided), "num_general": len(decided)}


def run(arm: str, *, base: str, work: Path, steps: int, every: int, rate: float) -> dict[str, Any]:
    """Train one arm, and measure it."""
    folder = find_base(base)
    chat, made = open_chat(folder), rows()
    name, _, number = arm.partition(":")
    begun = time.time()
    if name == "base":
        return {"arm": arm, **measured(load_model(folder, "float32").eval(), chat, folder.context, every=every)}
    general = own_answers(folder, chat, work / "own_answers", reporter=SilentReporter())
    train = made[:-_HELD_OUT]
    if name == "replay":
        train = [*train, *general_rows(general, num_own=len(train), share=float(number))]
    shown = {"context": _CONTEXT, "max_new_tokens": 24}
    settings: dict[str, Any] = {"max_steps": steps, "batch_examples": 8, "evaluate_every": 0, "learning_rate": rate}
    place = work / arm.replace(":", "-")
    trained = train_adapter(
        folder,
        chat,
        {"train": train, "val": made[-_HELD_OUT:], "general": general},
        objective=open_method("self_distillation", shown) if name == "self" else open_method("sft"),
        method=MethodConfig.model_validate({"dropout": 0.0}),
        train=TrainConfig.model_validate({**settings, "ewc": float(number) if name == "ewc" else 0.0, "patience": 0}),
        precision="float32",
        place=Place(arm, place / "work", place / "out"),
        reporter=SilentReporter(),
    )
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_model(folder, "float32"), str(place / "out" / "adapter")).eval()
    seconds = time.time() - begun
    found = measured(model, chat, folder.context, every=every)
    return {"arm": arm, **found, "val_loss": trained.fitted.best_loss, "training_s": round(seconds)}


def main() -> None:
    """Print a line for each arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+", metavar="ARM")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    chosen = parser.parse_args()
    for arm in chosen.arms:
        found = run(arm, base=chosen.base, work=chosen.work, steps=chosen.steps, every=chosen.every, rate=chosen.rate)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
