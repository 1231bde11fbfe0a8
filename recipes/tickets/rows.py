"""Support tickets of an imaginary shop, each with one of five labels: the rows of this recipe, the same on every call.

    python recipes/tickets/rows.py ROWS.jsonl

Every sentence belongs to a `form` (a way to say it). The recipe splits by form, so that the test asks in words that training
lacked. A ticket is a form with its blanks filled in, sometimes after a greeting that says nothing about the label.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

LABELS = ("billing", "delivery", "login", "defect", "returns")
QUESTION = "Sort this ticket into one of: billing, delivery, login, defect, returns. Answer with the one word.\n\n"
THINGS = (
    "kettle",
    "desk lamp",
    "bread knife",
    "garden hose",
    "radio",
    "wall clock",
    "tent",
    "bicycle pump",
    "camera",
    "blanket",
)
DAYS = ("on Monday", "last week", "two days ago", "in March", "yesterday", "on the 3rd", "ten days ago", "this morning")
SUMS = ("14.90", "32.00", "7.50", "118.00", "64.25", "9.99", "240.00", "51.30")
GREETINGS = (
    "",
    "",
    "Hello, ",
    "Good morning. ",
    "Hi there, ",
    "To whom it may concern: ",
    "Third time I write. ",
    "Sorry to bother you. ",
)
FORMS: dict[str, tuple[str, ...]] = {
    "billing": (
        "you charged me {sum} twice for the {thing} that I ordered {day}.",
        "the invoice for the {thing} shows {sum}, but the page said less.",
        "my card was debited {sum} {day} and I bought nothing.",
        "please send me a receipt for the {sum} that I paid {day}.",
        "why does the bill for my {thing} name a tax of {sum}?",
        "the discount code was not taken off the {sum} for the {thing}.",
        "I need the VAT number of my company on the invoice of the {thing} from {day}.",
        "I paid {sum} by transfer {day} and still get reminders.",
        "can I pay the {sum} for the {thing} in three parts?",
        "a subscription of {sum} a month appeared on my account {day}; I never took one.",
    ),
    "delivery": (
        "the {thing} was due {day} and nobody has brought it.",
        "tracking has said 'in transit' for the {thing} since you sent it {day}.",
        "the driver left the {thing} in the rain {day}.",
        "can the {thing} be brought to my neighbour instead?",
        "I gave the wrong street for the {thing} ordered {day}.",
        "when does the {thing} arrive? I ordered it {day}.",
        "the courier says that he rang {day}, but I was at home all the time waiting for the {thing}.",
        "only one of the two parcels came {day}; the one with the {thing} is missing.",
        "do you ship a {thing} to the islands?",
        "the parcel with my {thing} went to a depot 80 km away {day}.",
    ),
    "login": (
        "my password has not worked since {day}.",
        "the link to reset my password, sent {day}, has expired.",
        "I changed my phone {day} and the code goes to the old number.",
        "your site says that my address is unknown, yet I ordered a {thing} with it {day}.",
        "somebody else signed in to my account {day}.",
        "the account is locked after three tries {day}.",
        "I cannot get past the page that asks for the second factor to see my {thing} order.",
        "how do I change the mail address that I sign in with?",
        "the app throws me out every time I open the order of the {thing}.",
        "I never receive the mail that confirms my new account, tried {day}.",
    ),
    "defect": (
        "the {thing} stopped working {day}, after a week of use.",
        "the {thing} has a crack along one side.",
        "there is a smell of burning when I switch the {thing} on.",
        "a screw of the {thing} is missing, I noticed {day}.",
        "the {thing} that came {day} is scratched and will not close.",
        "my {thing} rattles loudly; the one of my sister does not.",
        "the handle of the {thing} broke off {day}.",
        "out of the box the {thing} does nothing at all.",
        "the {thing} leaks at the seam.",
        "the switch of the {thing} has been stuck since {day}.",
    ),
    "returns": (
        "I would like to send the {thing} back; it does not suit me.",
        "how long may I keep the {thing} before I must return it?",
        "please send a label so that I can post the {thing} back.",
        "I sent the {thing} back {day}; when do I see my money?",
        "can I swap the {thing} for a larger one?",
        "I changed my mind about the {thing} that came {day}.",
        "the {thing} was a gift and we have one already; may we give it back?",
        "must the {thing} go back in its own box?",
        "to which address do I return the {thing}?",
        "the shop refused to take my {thing} back {day} although it is unused.",
    ),
}


def rows(each: int = 6, seed: int = 7) -> list[dict[str, object]]:
    """`each` tickets a form; no two alike."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for label in LABELS:
        for number, form in enumerate(FORMS[label]):
            texts: set[str] = set()
            while len(texts) < each:
                text = form.format(thing=rng.choice(THINGS), day=rng.choice(DAYS), sum=rng.choice(SUMS))
                greeting = rng.choice(GREETINGS)
                texts.add(
                    greeting + (text if greeting.endswith(", ") or greeting.endswith(": ") else text[0].upper() + text[1:])
                )
            made += [{"prompt": QUESTION + text, "completion": label, "form": f"{label}-{number}"} for text in sorted(texts)]
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
