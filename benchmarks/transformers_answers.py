"""Answers of the transformers of another environment in float32: what an older release makes of a folder."""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, __version__


def main():
    asked = json.load(sys.stdin)
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32).eval()
    scores, answers = [], []
    with torch.inference_mode():
        for ids, begin in asked["rows"]:
            log_p = model(torch.tensor([ids])).logits[0, begin - 1 : -1].log_softmax(-1)
            rest = torch.tensor(ids[begin:])
            scores.append((log_p[torch.arange(len(rest)), rest].tolist(), (log_p.argmax(-1) == rest).tolist()))
        begun = time.perf_counter()
        for ids in asked["prompts"]:
            given = torch.tensor([ids])
            out = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=asked["tokens"],
                do_sample=False,
                repetition_penalty=1.0,
            )
            said = out[0, len(ids) :].tolist()
            answers.append((said, bool(said) and said[-1] in asked["ends"]))
    seconds = time.perf_counter() - begun
    json.dump({"version": f"transformers {__version__}", "greedy": answers, "scores": scores, "seconds": seconds}, sys.stdout)


main()
