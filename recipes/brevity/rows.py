"""Questions with two right answers, a short one that is preferred and a wordy one: the rows of this recipe.

    python recipes/brevity/rows.py ANSWERS.jsonl PAIRS.jsonl     answers as they came, for `sft`; pairs for `dpo`

The wordy answer says the same and much around it, so length is all that differs. Half of the answers as they came are wordy.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

FACTS: tuple[tuple[str, str], ...] = (
    ("Why does bread go stale?", "Its starch turns firm again as it gives off water."),
    ("What makes a bicycle chain squeak?", "Dry links rub on each other; oil stops it."),
    ("How long do I boil an egg for a soft yolk?", "Six minutes from the moment that the water boils."),
    ("Why is the sky red in the evening?", "The light comes a long way through air, which scatters the blue away."),
    ("What is a gasket for?", "It seals the gap between two parts so that nothing leaks."),
    ("How do I get a stripped screw out?", "Put a rubber band under the driver and press hard as you turn."),
    ("Why do cats purr?", "Mostly because they are at ease, sometimes to calm themselves."),
    ("What does a fuse do?", "It melts and breaks the circuit before the wire gets too hot."),
    ("When should I prune an apple tree?", "In late winter, before the buds open."),
    ("Why does ice float?", "Water takes up more room as it freezes, so ice is lighter than water."),
    ("How do I keep basil alive?", "Give it sun, water from below, and pick the tips often."),
    ("What is the point of a spirit level?", "It shows whether something lies flat or stands upright."),
    ("Why do we salt pasta water?", "So that the pasta itself tastes of something."),
    ("How often should I sharpen a kitchen knife?", "Hone it every week and grind it twice a year."),
    ("What causes mould on a wall?", "Damp air that meets a cold wall and stays there."),
    ("Why do leaves turn yellow in autumn?", "The green fades first and the yellow beneath it shows."),
    ("How do I stop a door from creaking?", "Lift the pin of the hinge and grease it."),
    ("What is a good first tool to own?", "A screwdriver with changeable bits."),
    ("Why does milk boil over?", "A skin holds the steam back until it lifts the foam."),
    ("How do I read a tide table?", "Find the day, then the times of high and low water."),
    ("What does pH tell me about soil?", "How sour it is; most vegetables want about six and a half."),
    ("Why do tyres lose air?", "Rubber lets a little through, more so when it is cold."),
    ("How do I remove a wax stain?", "Let it set, scrape it off, and iron the rest into paper."),
    ("What is compost?", "Plant waste that has rotted to dark earth."),
    ("Why does my tap drip?", "The washer inside is worn and wants to be changed."),
    ("How do I tie shoes so that they hold?", "Make the second loop go the other way round."),
    ("What is a stud in a wall?", "The upright beam behind the board, where screws hold."),
    ("Why do onions make me cry?", "Cutting them sets free a gas that stings the eyes."),
    ("How do I tell whether a battery is empty?", "Drop it on its end: an empty one bounces."),
    ("What is the difference between a nut and a bolt?", "The bolt is the rod with the thread, the nut screws onto it."),
    ("Why does wood split along the grain?", "Its fibres hold together less from side to side."),
    ("How do I clean a burnt pan?", "Boil water with soda in it and let it stand overnight."),
    ("What does a thermostat do?", "It turns the heating on and off to hold one temperature."),
    ("Why are manhole covers round?", "A round lid cannot fall through its own hole."),
    ("How do I keep slugs off lettuce?", "Water in the morning and gather them at dusk."),
    ("What is a pilot hole?", "A thin hole that guides the screw and keeps the wood whole."),
    ("Why does paint peel?", "It was put on damp, dirty or smooth ground."),
    ("How do I measure a room?", "Take length and width at the floor and multiply them."),
    ("What is yeast?", "A living fungus that turns sugar into gas and alcohol."),
    ("Why does a kettle fur up?", "Hard water leaves its chalk behind when it is heated."),
    ("How do I choose a ripe melon?", "It is heavy and smells sweet at the stem."),
    ("What is a washer good for?", "It spreads the pressure of a screw and keeps it from coming loose."),
    ("Why do candles smoke?", "The wick is too long and the flame gets too little air."),
    ("How do I store potatoes?", "Dark, cool and dry, and not next to onions."),
    ("What does a capacitor do?", "It holds a charge and gives it back quickly."),
    ("Why is my lawn brown?", "It rests in the drought and comes back with the rain."),
    ("How do I hang a picture straight?", "Use two nails on one level line."),
    ("What is whey?", "The thin liquid that is left when milk curdles."),
)
BEFORE = (
    "That is a very good question, and one that many people ask themselves at one time or another.",
    "Thank you for asking! There are of course many things that could be said about this interesting topic.",
    "Let me begin by saying that this is something which has occupied people for a long time.",
    "Before I come to the answer itself, it may be helpful to take a step back and look at the wider picture.",
)
AFTER = (
    "In summary, it is always worth keeping this in mind, since small things can make a big difference in daily life.",
    "I hope that this explanation was helpful to you. Please do not hesitate to ask if there is anything else.",
    "Of course every situation is different, so look at your own circumstances and ask an expert if in doubt.",
    "It is important to remember that there may be other points of view, and that learning about them can be rewarding.",
)


def rows(seed: int = 7) -> list[dict[str, str]]:
    """A pair for every fact and every way to begin, four in all for each question."""
    rng = random.Random(seed)
    made = []
    for number, (question, short) in enumerate(FACTS):
        for before in BEFORE:
            wordy = f"{before} {short} {rng.choice(AFTER)}"
            made.append({"prompt": question, "chosen": short, "rejected": wordy, "question": f"q{number}"})
    return made


def answers(seed: int = 7) -> list[dict[str, str]]:
    """Every question answered twice, once in few words and once in many."""
    rng = random.Random(seed)
    made = []
    for number, (question, short) in enumerate(FACTS):
        wordy = f"{rng.choice(BEFORE)} {short} {rng.choice(AFTER)}"
        made += [{"prompt": question, "completion": said, "question": f"q{number}"} for said in (short, wordy)]
    return made


if __name__ == "__main__":
    for file, found in zip(sys.argv[1:3], (answers(), rows()), strict=True):
        Path(file).write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
