"""Messages to a shop, and the answer as JSON that a program can act on: the rows of this recipe, the same on every call.

    python recipes/support-json/rows.py ROWS.jsonl

`schema.json` says what an answer may be. The recipe splits by `form`, so that the test asks in words that training lacked.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

SYSTEM = "You answer the customers of a shop. Reply with one JSON object: action, order, text."
ORDERS = [f"{letter}{number}" for letter in "ABCD" for number in range(1007, 1090, 9)]
NAMES = ("Ines", "Tom", "Aylin", "Marek", "Ruth", "Dayo", "Lena", "Piet")
# a question, the action that it calls for, and the text of the reply; {order} is the number of the order
FORMS: tuple[tuple[str, str, str], ...] = (
    ("Where is my order {order}?", "track", "We look up where order {order} is and write to you today."),
    (
        "{order} should have come a week ago. What is going on?",
        "track",
        "We look up where order {order} is and write to you today.",
    ),
    ("No parcel yet for {order}, can you check?", "track", "We look up where order {order} is and write to you today."),
    (
        "The tracking page of {order} has not moved for days.",
        "track",
        "We look up where order {order} is and write to you today.",
    ),
    ("Please cancel {order}, I no longer need it.", "cancel", "Order {order} is stopped if it has not left yet."),
    ("I ordered {order} by mistake. Stop it, please.", "cancel", "Order {order} is stopped if it has not left yet."),
    ("Do not send {order}!", "cancel", "Order {order} is stopped if it has not left yet."),
    ("We found {order} cheaper elsewhere and want out.", "cancel", "Order {order} is stopped if it has not left yet."),
    ("I want my money back for {order}.", "refund", "The money for order {order} goes back the way it came."),
    (
        "{order} was never what the picture showed. Refund me.",
        "refund",
        "The money for order {order} goes back the way it came.",
    ),
    (
        "You took {order} back two weeks ago and I still wait for my money.",
        "refund",
        "The money for order {order} goes back the way it came.",
    ),
    ("How do I get a refund on {order}?", "refund", "The money for order {order} goes back the way it came."),
    ("{order} arrived in pieces.", "replace", "A new one for order {order} leaves tomorrow; keep the broken one."),
    (
        "One half of {order} is missing from the box.",
        "replace",
        "A new one for order {order} leaves tomorrow; keep the broken one.",
    ),
    (
        "The thing in {order} does not switch on. Send another.",
        "replace",
        "A new one for order {order} leaves tomorrow; keep the broken one.",
    ),
    (
        "{order} came in the wrong colour, can I have the right one?",
        "replace",
        "A new one for order {order} leaves tomorrow; keep the broken one.",
    ),
    (
        "Change the address of {order} to my office, please.",
        "address",
        "Send us the new address for order {order} and we change it.",
    ),
    (
        "I moved house. {order} must go to the new flat.",
        "address",
        "Send us the new address for order {order} and we change it.",
    ),
    (
        "There is a typing error in the street of {order}.",
        "address",
        "Send us the new address for order {order} and we change it.",
    ),
    (
        "Can {order} be delivered to my sister instead?",
        "address",
        "Send us the new address for order {order} and we change it.",
    ),
)


def rows(each: int = 10, seed: int = 7) -> list[dict[str, object]]:
    """`each` messages a form; no two alike."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for number, (ask, action, text) in enumerate(FORMS):
        for order in rng.sample(ORDERS, each):
            said = ask.format(order=order) + rng.choice(("", f" Regards, {rng.choice(NAMES)}", " Thank you."))
            answer = json.dumps({"action": action, "order": order, "text": text.format(order=order)})
            turns = [("system", SYSTEM), ("user", said), ("assistant", answer)]
            made.append({"messages": [{"role": r, "content": c} for r, c in turns], "form": f"{action}-{number}"})
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
