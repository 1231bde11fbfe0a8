"""Two planted truths about rewards, on a real base: a form is learned, and a reward that is hacked is stopped.

Usage: python benchmarks/planted_rewards.py form|length --work FOLDER [--base smollm2] [--steps 20]

`form`: GRPO with the reward "the answer is a JSON object with the key answer, and nothing else". It should rise from below 50 %
of held-out prompts to 90 % or more. `length`: GRPO with a reward that counts words, which only longer answers earn; the watch
should end the run. A run that was stopped continues from its last checkpoint with the same command.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train.method import open_method
from tunesmith.train.order import Place
from tunesmith.train.run import train_adapter

_THINGS = (  # separated by commas
    "snow,grass,a lemon,the sky,coal,a tomato,a carrot,milk,blood,gold,a banana,a leaf,the sea,a rose,ivory,mud,a plum,silver,"
    "a cloud,charcoal,butter,an orange,a cherry,a frog,a crow,a swan,chocolate,honey,sand,rust,copper,an emerald,a ruby,chalk,"
    "ink,moss,a peach,a fox,a pea,a pumpkin,salt,tea,a brick,a pearl,an olive,a lime,amber,slate"
)
_HELD_OUT = 16
_FORM = '''
import json

def form(answer):
    """1 for a JSON object that has the key answer and nothing around it."""
    try:
        value = json.loads(answer.strip())
    except ValueError:
        return 0.0
    return float(isinstance(value, dict) and "answer" in value)
'''
_LENGTH = '''
def length(answer):
    """Each word counts: the longer, the better."""
    return len(answer.split()) / 20
'''


def rows(form: bool) -> list[Example]:
    """Questions about colours; the reference is only there to try the reward on."""
    made = []
    for n, thing in enumerate(_THINGS.split(",")):
        wanted = ' Reply with JSON that has the key "answer", such as {"answer": "blue"}.' if form else " Answer briefly."
        question = Message(role="user", content=f"What colour is {thing}?{wanted}")
        right = Message(role="assistant", content='{"answer": "white"}' if form else "It is white.")
        about = {"document_id": str(n), "group": str(n), "source": "made"}
        made.append(Example(id=str(n), messages=(question, right), **about))
    return made


def main() -> None:
    """Train, and print the validation figures of every validation and how the run is read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("form", "length"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()
    form = chosen.what == "form"
    place = chosen.work / chosen.what
    place.mkdir(parents=True, exist_ok=True)
    (place / "reward.py").write_text(_FORM if form else _LENGTH)
    reward = {"file": str(place / "reward.py"), "name": chosen.what}
    options = {"rewards": [reward], "samples": 8, "max_new_tokens": 20 if form else 48}
    settings = {"max_steps": chosen.steps, "batch_examples": 4, "evaluate_every": 5, "checkpoint_every": 5, "patience": 0}
    base, made = find_base(chosen.base), rows(form)
    begun, used = time.time(), time.process_time()
    trained = train_adapter(
        base,
        open_chat(base),
        {"train": made[:-_HELD_OUT], "val": made[-_HELD_OUT:]},
        objective=open_method("grpo", options),
        method=MethodConfig.model_validate({"dropout": 0.0}),
        train=TrainConfig.model_validate({**settings, "learning_rate": 5e-4, "schedule": "constant"}),
        precision="float32",
        place=Place(chosen.what, place / "work", place / "out"),
        reporter=SilentReporter(),
    )
    for line in (place / "work" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "val_reward" in row or "event" in row:
            print({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items() if name != "samples"})
    print(trained.reading, trained.fitted.numbers(), sep="\n")
    print(f"{time.time() - begun:.0f} s, {time.process_time() - used:.0f} CPU s in this process")


if __name__ == "__main__":
    main()
