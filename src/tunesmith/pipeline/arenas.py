"""Making and finding arenas: pairs of stored answers of an evaluation, or of answers generated now, in `PROJECT/arenas`.

An arena lies next to `.tunesmith`, which can be made again; people's votes cannot. Its references are those of other artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tunesmith.core.artifacts import Artifact, Draft, Store
from tunesmith.core.errors import ArtifactError, EvaluationError, SourceError
from tunesmith.core.files import damage
from tunesmith.core.records import Message, canonical_json, digest, write_jsonl
from tunesmith.core.reporter import Reporter
from tunesmith.data.dataset.golden import read_golden
from tunesmith.eval.arena.arena import KIND, PAIRS, Arena
from tunesmith.eval.arena.results import MOST_SYSTEMS
from tunesmith.eval.arena.shown import Pair, Response, draw_pairs
from tunesmith.eval.results import Evidence, Item, read_evidence
from tunesmith.models.generation.requests import Request
from tunesmith.models.use import GREEDY_USE, Use
from tunesmith.pipeline.finished import finished_run
from tunesmith.systems.opening import OpenedSystem, Opening, open_system
from tunesmith.systems.system import System

__all__ = ["ASK", "Wanted", "find_arena", "golden_check", "make_arena"]


ASK = "Which sounds more like me?"
_OF_A_RUN = ("base", "tuned")
_HINT = "tunesmith arena --system base --system tuned"

Questions = Sequence[tuple[str, str, tuple[Message, ...], Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an arena is made of. `systems`: names of the evaluation (base, prompted, tuned …), or what `open_system` opens.

    `questions`: a file of questions in place of the test items; answers are then generated, `max_new_tokens` at most. `most`:
    pairs at most. `seed`: of the choice of pairs, of their order, sides and repeats.
    """

    systems: tuple[str, ...] = _OF_A_RUN
    evaluation: str = "eval:latest"
    questions: Path | None = None
    ask: str = ASK
    most: int = 100
    seed: int = 7
    max_new_tokens: int = 200


def make_arena(project: Path, wanted: Wanted, *, reporter: Reporter) -> Arena:
    """The arena of these systems and questions: opened if it is there, else made. Votes are never made or removed here.

    Raises:
        EvaluationError: one system or more than eight, systems that the evaluation does not have, no pair of different answers.
        ArtifactError: no evaluation, or an arena whose pairs are damaged. SourceError: questions that cannot be read.
        ModelError, EngineError: a system that cannot be opened.
    """
    if not 2 <= len(set(wanted.systems)) == len(wanted.systems) <= MOST_SYSTEMS:
        raise EvaluationError(
            "an arena compares two to eight different systems",
            value=", ".join(wanted.systems),
            expected="two names or more, each once",
            hint=_HINT,
        )
    store = Store(project / ".tunesmith")
    evaluation = _evaluation(store, wanted)
    evidence = None if evaluation is None else read_evidence(evaluation.path / "evidence.json")
    if evaluation is not None and evidence is not None:
        known = {run.name: run.fingerprint for run in evidence.systems if run.generations}
        if set(wanted.systems) <= known.keys():
            run = [one for one in evaluation.manifest["inputs"] if one["kind"] == "run"]
            settings = _settings(wanted, {name: known[name] for name in wanted.systems}, evidence.use, "evaluation")
            return _obtain(store, run, settings, lambda: _stored(evidence, wanted))
    return _generated(store, wanted, evidence, reporter)


def find_arena(project: Path, reference: str = "arena:latest") -> Arena:
    """The arena with these first digits, or the latest one. ArtifactError unless there is exactly one, whole."""
    store = Store(project / ".tunesmith")
    if not any(one.kind == KIND for one in store.all()):
        raise ArtifactError(
            "there is no arena in this project yet", value=str(project), expected="an arena with votes", hint="tunesmith arena"
        )
    found = store.resolve(reference)
    if found.kind != KIND:
        raise ArtifactError("this is not an arena", value=reference, expected="arena:latest", hint="tunesmith arena results")
    return Arena.open(found)


def golden_check(project: Path) -> Any:
    """Whether a pair is about a golden item of the project: by its id, its document, its question or an answer."""
    items = read_golden(project).items
    ids = {name for item in items for name in (item.id, item.document_id)}
    questions = {_plain(item.prompt[-1].content) for item in items if item.prompt}
    answers = {_plain(item.answer) for item in items}

    def is_golden(pair: Pair) -> bool:
        asked = [_plain(message.content) for message in pair.prompt if message.role == "user"]
        given = {_plain(pair.a.text), _plain(pair.b.text)}
        by_id = pair.item_id in ids or pair.document in ids
        return by_id or bool(questions & set(asked[-1:])) or bool(answers & given)

    return is_golden


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _evaluation(store: Store, wanted: Wanted) -> Artifact | None:
    """The evaluation whose answers are shown; None where answers are generated."""
    if wanted.questions is not None:
        return None
    try:
        found = store.resolve(wanted.evaluation)
    except ArtifactError as error:
        raise ArtifactError(
            "there are no answers to compare yet",
            value=wanted.evaluation,
            expected="a finished evaluation, or questions of your own",
            hint="tunesmith run, then tunesmith arena; or tunesmith arena --questions FILE",
        ) from error
    if found.kind != "eval":
        raise EvaluationError("this is not an evaluation", value=found.kind, expected="eval:latest", hint="tunesmith show")
    return found


def _settings(wanted: Wanted, fingerprints: Mapping[str, str], use: Use, source: str) -> dict[str, Any]:
    drawn = {"temperature": use.temperature, "top_p": use.top_p, "repetition_penalty": use.repetition_penalty, "seed": use.seed}
    return {
        "systems": list(wanted.systems),
        "fingerprints": dict(fingerprints),
        "ask": wanted.ask,
        "most": wanted.most,
        "seed": wanted.seed,
        "use": drawn,
        "answers": source,
    }


def _obtain(store: Store, inputs: Sequence[Mapping[str, str]], settings: Mapping[str, Any], make: Any) -> Arena:
    """The arena of the same inputs and settings, by whatever version it was made; its votes count on."""
    wanted = canonical_json([list(inputs), settings])
    for known in store.all():
        if known.kind == KIND and canonical_json([known.manifest["inputs"], known.manifest["settings"]]) == wanted:
            if wrong := damage(known.path):
                raise ArtifactError(
                    "the pairs of this arena are damaged",
                    value=f"{known.path}: {wrong}",
                    expected="pairs as they were when votes were cast",
                    hint="restore the folder from a copy; votes.jsonl in it is still yours",
                )
            return Arena.open(store.mark_latest(known))
    pairs, same = make()
    if not pairs:
        raise EvaluationError(
            "there is no pair of different answers to compare",
            value=f"{same} pairs of equal answers",
            expected="systems that answer differently",
            hint="name other systems: tunesmith arena --system base --system tuned",
        )

    def fill(draft: Draft) -> None:
        write_jsonl(draft.path / PAIRS, pairs)
        draft.numbers |= {"pairs": len(pairs), "same answers": same}

    return Arena.open(store.obtain(KIND, inputs, settings, fill))


def _stored(evidence: Evidence, wanted: Wanted) -> tuple[list[Pair], int]:
    """Pairs of the answers that the evaluation drew; of several draws the seed chooses one for each question."""
    drawn: dict[str, dict[str, list[Response]]] = {name: {} for name in wanted.systems}
    seed = evidence.use.seed if evidence.use.temperature > 0 else None
    for run in evidence.systems:
        for given in sorted(run.generations, key=lambda one: one.draw or 0) if run.name in drawn else ():
            response = Response(system=run.name, text=given.text, finish_reason=given.finish_reason, seed=seed, draw=given.draw)
            drawn[run.name].setdefault(given.item_id, []).append(response)

    def chosen(name: str, item: Item) -> Response | None:
        among = drawn[name].get(item.id, [])
        return among[int(digest(str(wanted.seed), "draw", name, item.id)[:8], 16) % len(among)] if among else None

    questions = [(item.id, item.group, item.prompt, item.about) for item in evidence.items]
    responses = {name: [chosen(name, item) for item in evidence.items] for name in wanted.systems}
    return draw_pairs(questions, responses, most=wanted.most, seed=wanted.seed)


# --- answers generated now --------------------------------------------------------------------------------------------


def _generated(store: Store, wanted: Wanted, evidence: Evidence | None, reporter: Reporter) -> Arena:
    questions: Questions
    if wanted.questions is not None:
        questions = _read_questions(wanted.questions)
    else:
        questions = [
            (item.id, item.group, item.prompt, item.about) for item in (evidence.items if evidence else ()) if item.prompt
        ]
    if not questions:
        raise EvaluationError(
            "the test set is plain text, of which nothing is asked",
            value=wanted.evaluation,
            expected="questions",
            hint="tunesmith arena --questions FILE",
        )
    use = _use(store, evidence)
    with ExitStack() as stack:
        systems = _opened(wanted.systems, store, stack, reporter)
        prints = {name: system.fingerprint for name, system in systems.items()}
        settings = _settings(wanted, prints, use, "generated")
        settings |= {"max_new_tokens": wanted.max_new_tokens}
        settings |= {"questions": digest(*(canonical_json([q[0], [m.content for m in q[2]]]) for q in questions))}

        def make() -> tuple[list[Pair], int]:
            total = len(questions) * len(systems)
            with reporter.progress("arena", total=total, unit="answers") as progress:
                given = {
                    name: _answers(name, system, questions, use, wanted.max_new_tokens, progress.advance)
                    for name, system in systems.items()
                }
            return draw_pairs(questions, given, most=wanted.most, seed=wanted.seed)

        return _obtain(store, _run_of(wanted.systems, store), settings, make)


def _run_of(names: Sequence[str], store: Store) -> list[dict[str, str]]:
    """The run whose models `base` and `tuned` are: votes on these count in its verdict, whatever the questions are."""
    return [store.resolve("run:latest").reference()] if set(_OF_A_RUN) & set(names) else []


def _use(store: Store, evidence: Evidence | None) -> Use:
    """The sampling settings: those of the evaluation, of the latest run, or greedy where there is none."""
    if evidence is not None:
        return evidence.use
    if any(one.kind == "run" for one in store.all()):
        return finished_run(store).use or GREEDY_USE
    return GREEDY_USE


def _opened(names: Sequence[str], store: Store, stack: ExitStack, reporter: Reporter) -> dict[str, System]:
    """Each system by the name that was given; `base` and `tuned` are those of the latest run."""
    opened: dict[str, OpenedSystem] = {}
    found: dict[str, System] = {}
    chat = None
    for name in sorted(names, key=lambda one: "://" in one):  # a server is asked in the chat format of the first
        reference = "run:latest" if name in _OF_A_RUN else name
        if reference not in opened:
            how = Opening(store=store, reporter=reporter, chat=chat)
            opened[reference] = stack.enter_context(open_system(reference, how))
            chat = chat or opened[reference].chat
        one = opened[reference]
        found[name] = one.base if name == "base" and one.base is not None else one.system
    return {name: found[name] for name in names}


def _answers(
    name: str, system: System, questions: Questions, use: Use, max_new_tokens: int, on_done: Any
) -> list[Response | None]:
    requests = [Request(messages=prompt, max_new_tokens=max_new_tokens, sampling=use.sampling) for _, _, prompt, _ in questions]
    seed = use.seed if use.temperature > 0 else None
    return [
        Response(system=name, text=done.text, finish_reason=done.finish_reason, seed=seed, draw=0)
        for done in system.answer(requests, on_done=on_done)
    ]


def _read_questions(path: Path) -> Questions:
    """Questions of a file: JSON lines with `prompt` (text or turns) and optionally `id` and `group`, or one question a line."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            "the questions cannot be read", value=str(path), expected=f"a UTF-8 file ({error})", hint="check the path"
        ) from error
    rows = [_question(path, number, line) for number, line in enumerate(lines, 1)]
    if not rows or len({row[0] for row in rows}) != len(rows):
        raise SourceError(
            "there are no questions in this file" if not rows else "an id or a question is there twice",
            value=str(path),
            expected="one question per line, or JSON lines with id and prompt",
            hint=f"correct {path}",
        )
    return rows


def _question(path: Path, number: int, line: str) -> tuple[str, str, tuple[Message, ...], Mapping[str, str]]:
    if path.suffix != ".jsonl":
        return digest(line)[:12], digest(line)[:12], (Message(role="user", content=line.strip()),), {}
    try:
        row = orjson.loads(line)
        asked = row["prompt"]
        turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        prompt = TypeAdapter(tuple[Message, ...]).validate_python(turns)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise SourceError(
            f"line {number} of the questions cannot be used",
            value=line[:80],
            expected='an object such as {"id": "1", "prompt": "What is it like?"}',
            hint=f"correct line {number} of {path}",
        ) from error
    id = str(row.get("id", digest(canonical_json([turn.content for turn in prompt]))[:12]))
    return id, str(row.get("group", id)), prompt, {}
