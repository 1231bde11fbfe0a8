"""What is measured on a model: nats against a direct computation, and that no system is measured in another's place."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tokenizers import processors

from fakes import TEMPLATE, Told, conversation, example, examples, make_base
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.core.records import Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.evaluate import Conditions, Measured, choose_items, evaluate, that_fit
from tunesmith.eval.evidence_checks import check_evidence
from tunesmith.eval.likelihood import encode_items, likelihoods
from tunesmith.eval.parity import compare_models
from tunesmith.eval.results import Evidence, Item
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.generate import generate
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.use import Use
from tunesmith.systems.prompted import style_prompts

ITEMS = choose_items(examples(9), 0)
CONDITIONS = Conditions(baselines=("prompted",), max_new_tokens=4, batch_examples=8)


@pytest.fixture(scope="module")
def model(tiny: BaseFolder) -> Any:
    return load_model(tiny, "float32")


def measured(model: Any, chat: Chat, items: tuple[Item, ...], batch: int = 4) -> Any:
    rows = encode_items(chat, items, [i.prompt for i in items], context=768)
    return likelihoods(model, chat, items, rows, batch_examples=batch)


def test_nats_are_what_transformers_itself_computes_for_the_answer(model: Any, tiny_chat: Chat) -> None:
    item = ITEMS[0]
    prompt = tiny_chat.encode_prompt(item.prompt)
    answer = tiny_chat.tokenizer(item.reference, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*prompt, *answer, tiny_chat.turn_end]])
    labels = torch.tensor([[-100] * len(prompt) + list(answer) + [-100]])
    with torch.inference_mode():
        loss = float(model(input_ids=ids, labels=labels).loss)  # a mean over the answer's tokens
        end = F.softmax(model(input_ids=ids).logits[0, -2], -1)[tiny_chat.turn_end]
    found = measured(model, tiny_chat, (item,))[0]
    assert found.nats == pytest.approx(loss * len(answer), rel=1e-5) and found.num_tokens == len(answer)
    assert found.end_probability == pytest.approx(float(end), rel=1e-4)
    assert found.num_bytes == len(item.reference.encode())


def test_a_thinking_block_in_the_template_is_no_part_of_any_score(model: Any, tmp_path: Path) -> None:
    block = "<think>\n\n</think>\n\n"
    written = f"+ ({block!r} if message['role'] == 'assistant' else '') + message['content']"
    thinking = open_chat(find_base(str(make_base(tmp_path / "b", template=TEMPLATE.replace("+ message['content']", written)))))
    item = ITEMS[0]
    found = measured(model, thinking, (item,))[0]
    encoded = thinking.tokenizer(item.reference, add_special_tokens=False)["input_ids"]
    whole = thinking.encode([*item.prompt, Message(role="assistant", content=item.reference)])
    at = len(whole.ids) - len(encoded) - 2  # the end token and a line break follow
    with torch.inference_mode():
        log_p_TV = F.log_softmax(model(input_ids=torch.tensor([whole.ids])).logits[0], -1)
    nats = -sum(float(log_p_TV[at + n - 1, token]) for n, token in enumerate(encoded))
    assert found.num_tokens == len(encoded) < whole.num_learned - 1
    assert found.nats == pytest.approx(nats, rel=1e-5)


def test_a_tokenizer_with_trimmed_offsets_scores_every_token(model: Any, tiny: BaseFolder, tiny_chat: Chat) -> None:
    trimming = open_chat(tiny)
    trimming.tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    items = tuple(replace(item, reference=f"First \n\n {item.reference}\n\n  And last.") for item in ITEMS[:3])
    assert measured(model, trimming, items) == measured(model, tiny_chat, items)
    assert measured(model, trimming, items)[0].num_tokens == len(tiny_chat.encode_text(items[0].reference))


def test_tokens_that_do_not_read_as_the_reference_are_an_error_and_not_scored(
    tiny_chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Chat._tokens

    def shifted(self: Chat, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        ids, offsets = sound(self, text)
        return ids, [(low + 3, high + 3) for low, high in offsets]

    monkeypatch.setattr(Chat, "_tokens", shifted)
    with pytest.raises(EvaluationError, match="not the words of the reference") as caught:
        encode_items(tiny_chat, ITEMS[:1], [ITEMS[0].prompt], context=768)
    assert ITEMS[0].id in str(caught.value) and caught.value.problems[0].hint


def test_an_item_whose_reference_the_template_rewrites_stays_unscored(tmp_path: Path) -> None:
    cutting = TEMPLATE.replace("message['content']", "message['content'].split('</think>')[-1]")
    chat = open_chat(find_base(str(make_base(tmp_path / "b", template=cutting))))
    odd = replace(ITEMS[1], reference="A post about </think> tags.")
    assert that_fit(chat, (ITEMS[0], odd, ITEMS[2]), context=768) == (ITEMS[0], ITEMS[2])


def test_padding_beside_longer_rows_changes_nothing(model: Any, tiny_chat: Chat) -> None:
    for alone, beside in zip(measured(model, tiny_chat, ITEMS, 1), measured(model, tiny_chat, ITEMS, 9), strict=True):
        assert beside.item_id == alone.item_id and beside.nats == pytest.approx(alone.nats, rel=1e-5)
        assert beside.correct_tokens == alone.correct_tokens


def test_only_the_last_answer_of_a_conversation_is_scored(model: Any, tiny_chat: Chat) -> None:
    prompt = conversation("first?", "an earlier answer", "second?")
    item = Item(id="i", group="g", title=None, prompt=prompt, reference="the last one")
    found = measured(model, tiny_chat, (item,))[0]
    assert found.num_tokens == len(tiny_chat.tokenizer("the last one")["input_ids"])


def test_an_item_longer_than_the_context_is_an_error(tiny_chat: Chat) -> None:
    with pytest.raises(EvaluationError, match="longer than the context"):
        encode_items(tiny_chat, ITEMS, [i.prompt for i in ITEMS], context=30)


def test_a_limit_on_items_reaches_every_document_before_a_second_row_of_any() -> None:
    rows = examples(30, each=3)
    ten = choose_items(rows, 10)
    assert len({item.group for item in ten}) == 10 and choose_items(rows[::-1], 10) == ten
    assert choose_items(rows, 14)[:10] == ten
    assert len(choose_items(rows, 0)) == 30 and len(choose_items(rows, 1)) == 1


def test_the_style_prompt_shows_training_passages_and_leaves_every_item_its_room(tiny_chat: Chat) -> None:
    train = examples(10)
    shown = style_prompts(tiny_chat, train, ITEMS, context=768, room=40)
    assert shown is not None and (shown.num_passages, shown.num_fewer) == (3, 0)
    for item, prompt in zip(ITEMS, shown.prompts, strict=True):
        assert sum(row.answer in prompt[0].content for row in train) == 3
        assert len(tiny_chat.encode([*prompt, Message(role="assistant", content=item.reference)]).ids) <= 768
        assert len(tiny_chat.encode_prompt(prompt)) + 40 <= 768
    assert style_prompts(tiny_chat, train, ITEMS, context=200, room=40) is None


def test_a_passage_that_training_repeats_is_shown_once(tiny_chat: Chat) -> None:
    train = [replace(row, id=f"{row.id}{mark}") for row in examples(2) for mark in ("", "#again-2", "#again-3")]
    shown = style_prompts(tiny_chat, train, ITEMS, context=768, room=40)
    assert shown is not None and shown.num_passages == 2
    assert all(shown.prompts[0][0].content.count(row.answer) == 1 for row in examples(2))


def test_one_long_item_does_not_take_the_passages_from_all(tiny_chat: Chat) -> None:
    filler = "word " * 60
    long = replace(ITEMS[0], prompt=conversation(filler))
    while len(tiny_chat.encode_prompt(long.prompt)) < 620:
        long = replace(long, prompt=conversation(long.question + "word "))
    others = choose_items(examples(10)[1:], 0)
    shown = style_prompts(tiny_chat, examples(10), (long, *others), context=768, room=40)
    assert shown is not None and (shown.num_passages, shown.num_fewer) == (3, 1)
    assert shown.prompts[0] == long.prompt and all(len(prompt) == 2 for prompt in shown.prompts[1:])


def test_how_much_the_prompted_base_was_shown_stands_in_the_evidence_and_beside_its_name(whole: Measured) -> None:
    label = next(s.label for s in whole.systems if s.name == "prompted")
    passages, tokens, fewer = whole.numbers.values()
    assert label == f"base shown {passages} training passages ({tokens} tokens)" and passages == 3 and fewer == 0


def run(base: BaseFolder, adapter: Path, merged: BaseFolder, *, told: Told | None = None, **changes: Any) -> Measured:
    conditions = replace(CONDITIONS, **changes)
    return evaluate(
        base,
        adapter=adapter,
        merged=merged,
        items=ITEMS,
        train=examples(12),
        general=choose_items([example("What is rain?", "Water that falls.", id="g")], 0),
        conditions=conditions,
        reporter=told or SilentReporter(),
    )


@pytest.fixture(scope="module")
def merged(tiny: BaseFolder, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    out = tmp_path_factory.mktemp("merged") / "m"
    merge(tiny, trained_adapter, out)
    return find_base(str(out))


@pytest.fixture(scope="module")
def whole(tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder) -> Measured:
    return run(tiny, trained_adapter, merged)


def test_every_system_has_a_fingerprint_of_its_own_and_answers_every_item(whole: Measured) -> None:
    assert [s.name for s in whole.systems] == ["base", "prompted", "tuned", "merged"]
    assert len({s.fingerprint for s in whole.systems}) == 4
    for system in whole.systems:
        asked = system.greedy if system.name == "merged" else system.generations
        assert {g.item_id for g in asked} == {i.id for i in ITEMS} == {x.item_id for x in system.likelihoods}
    check_evidence(Evidence(items=ITEMS, systems=whole.systems, parity=whole.parity, general=whole.general))


def test_drawn_systems_answer_every_item_as_often_as_asked_and_parity_stays_greedy(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, model: Any, tiny_chat: Chat
) -> None:
    use = Use(temperature=1.5, top_p=0.9, repetition_penalty=1.1, draws=3, seed=3)
    found = {s.name: s for s in run(tiny, trained_adapter, merged, use=use).systems}
    for name in ("base", "prompted", "tuned"):
        drawn = [(g.item_id, g.draw) for g in found[name].generations]
        assert drawn == [(item.id, draw) for item in ITEMS for draw in range(3)]
        texts = [g.text for g in found[name].generations]
        assert any(len(set(texts[at : at + 3])) > 1 for at in range(0, len(texts), 3))
    assert not found["merged"].generations and not found["prompted"].greedy
    assert [g.text for g in found["merged"].greedy] == [g.text for g in found["tuned"].greedy]
    greedy = generate(model, tiny_chat, [i.prompt for i in ITEMS], max_new_tokens=4, batch_examples=8, context=768)
    assert [g.text for g in found["base"].greedy] == [said.text for said in greedy]
    again = {s.name: s for s in run(tiny, trained_adapter, merged, use=use, batch_examples=3).systems}
    assert [g.text for g in again["tuned"].generations] == [g.text for g in found["tuned"].generations]


def test_references_that_need_more_tokens_than_the_limit_are_counted(whole: Measured) -> None:
    assert whole.limit is not None
    assert (whole.limit.max_new_tokens, whole.limit.too_long, whole.limit.num_references) == (4, 9, 9)


def test_base_and_tuned_really_differ_and_tuned_and_merged_do_not(whole: Measured, model: Any, tiny_chat: Chat) -> None:
    base, _, tuned, merged = ([x.nats for x in s.likelihoods] for s in whole.systems)
    assert base == pytest.approx([x.nats for x in measured(model, tiny_chat, ITEMS)], rel=1e-5)
    assert sum(tuned) < sum(base) * 0.99
    assert whole.parity is not None and whole.general is not None
    assert merged == pytest.approx(tuned, rel=1e-4) and whole.parity.max_abs_logit < 1e-4
    assert whole.general.base[0].nats != whole.general.tuned[0].nats


def test_the_folder_is_measured_as_it_is_stored_and_as_it_is_served(
    tiny: BaseFolder, trained_adapter: Path, tmp_path: Path
) -> None:
    merge(tiny, trained_adapter, tmp_path / "m", precision="bfloat16")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0}))
    found = run(tiny, trained_adapter, find_base(str(tmp_path / "m")), baselines=[])
    assert found.parity is not None
    assert (found.parity.stored, found.parity.precision, found.parity.as_summed) == ("bfloat16", "float32", 1.0)
    assert found.parity.differences == ("config.json: rope_theta is 500.0, in the base nothing",)
    served = found.served
    assert served is not None and (served.stored, served.precision) == ("bfloat16", "bfloat16")
    assert 0 < served.num_positions <= found.parity.num_positions and served.greedy_total == min(4, len(ITEMS))
    assert served.mean_kl > found.parity.mean_kl > 0


def test_a_merged_model_that_breaks_when_opened_as_served_is_warned_of_and_not_measured(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(folder: BaseFolder, precision: Any) -> Any:
        model = load_model(folder, precision)
        if precision == "bfloat16":
            model.get_output_embeddings().weight.data[0] = float("inf")
        return model

    monkeypatch.setattr("tunesmith.systems.weights.load_model", overflowing)
    told = Told()
    found = run(tiny, trained_adapter, merged, told=told, baselines=[])
    assert (
        found.served is None
        and found.parity is not None
        and found.parity.differences == ()
        and found.parity.stored == "float32"
    )
    assert any("what opening the merged model in 16 bits costs was not measured" in warning for warning in told.warnings)


def test_without_baselines_only_three_systems_are_measured(tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder) -> None:
    assert [s.name for s in run(tiny, trained_adapter, merged, baselines=[]).systems] == ["base", "tuned", "merged"]


def test_other_sampling_settings_are_another_fingerprint(
    whole: Measured, tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder
) -> None:
    conditions = replace(CONDITIONS, max_new_tokens=5, baselines=())
    other = evaluate(
        tiny,
        adapter=trained_adapter,
        merged=merged,
        items=ITEMS,
        train=[],
        general=ITEMS[:1],
        conditions=conditions,
        reporter=SilentReporter(),
    )
    assert not {s.fingerprint for s in other.systems} & {s.fingerprint for s in whole.systems}


def test_an_adapter_that_is_not_there_is_an_error_and_never_the_base_in_its_place(
    tiny: BaseFolder, merged: BaseFolder, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no adapter weights here"):
        run(tiny, tmp_path / "nowhere", merged)


def test_the_base_posing_as_merged_is_found_by_parity(tiny: BaseFolder, trained_adapter: Path) -> None:
    parity = run(tiny, trained_adapter, tiny).parity
    assert parity is not None and parity.max_abs_logit > 1e-2


def test_a_merged_model_with_another_template_is_an_error(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, tmp_path: Path
) -> None:
    shutil.copytree(merged.path, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text((tiny.path / "chat_template.jinja").read_text() + " ")
    with pytest.raises(EvaluationError, match="another tokenizer or chat template"):
        run(tiny, trained_adapter, find_base(str(tmp_path / "m")))


def test_nothing_to_evaluate_on_is_an_error(tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder) -> None:
    with pytest.raises(EvaluationError, match="no test items to evaluate"):
        evaluate(
            tiny,
            adapter=trained_adapter,
            merged=merged,
            items=(),
            train=[],
            general=(),
            conditions=CONDITIONS,
            reporter=SilentReporter(),
        )


def test_without_an_end_token_in_the_template_the_end_probability_is_not_measured(model: Any, tiny_chat: Chat) -> None:
    rows = encode_items(tiny_chat, ITEMS[:1], [ITEMS[0].prompt], context=768)
    endless = replace(tiny_chat, end_ids=())
    found = likelihoods(model, endless, ITEMS[:1], rows, batch_examples=1)[0]
    assert found.end_probability is None and found.num_tokens == rows[0].num_learned


def test_an_adapter_that_is_loaded_and_then_ignored_is_found(
    tiny: BaseFolder, trained_adapter: Path, merged: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ignoring(model: Any, folder: Path) -> Any:
        adapted = open_adapter(model, folder)
        for module in adapted.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling["default"] = 0.0
        return adapted

    monkeypatch.setattr("tunesmith.models.tuned.open_adapter", ignoring)
    with pytest.raises(EvaluationError, match="the adapter has no effect"):
        run(tiny, trained_adapter, merged)


def test_parity_of_logits_that_are_no_numbers_is_an_error_and_not_zero(tiny: BaseFolder, model: Any, tiny_chat: Chat) -> None:
    broken = load_model(tiny, "float32")
    broken.get_output_embeddings().weight.data[0] = float("nan")
    rows = encode_items(tiny_chat, ITEMS[:2], [i.prompt for i in ITEMS[:2]], context=768)
    with pytest.raises(EvaluationError, match="not numbers"):
        compare_models("adapter → merged", model, broken, rows, ((), ()))


def test_each_of_two_models_in_memory_is_compared_and_not_one_with_itself(
    tiny: BaseFolder, trained_adapter: Path, tiny_chat: Chat
) -> None:
    base, tuned = load_model(tiny, "float32"), open_adapter(load_model(tiny, "float32"), trained_adapter)
    rows = [tiny_chat.encode(example("Ask?", "Say.", id="one").messages)]
    assert compare_models("adapter → base", tuned, base, rows, ((), ())).max_abs_logit > 1e-3
    assert compare_models("adapter → adapter", tuned, tuned, rows, ((), ())).max_abs_logit == 0
