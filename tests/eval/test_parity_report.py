"""What parity says: three values for every part, contract of the JSON, exit codes, and a page of 80 columns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from parity_faults import PROMPTS, as_server, compared, opened

from fakes import make_base
from tunesmith.eval.parity import Distance
from tunesmith.eval.parity_pair import compare_systems
from tunesmith.eval.parity_prompts import fixed_prompts
from tunesmith.eval.tolerances import FORMS, looser
from tunesmith.models.chat import Chat
from tunesmith.systems.opening import OpenedSystem

FIRST = ["pass", "tokens_equal", "template_equal", "max_abs", "kl", "top1", "greedy_match", "cause"]


def silent(side: OpenedSystem) -> OpenedSystem:
    """A server that gives its answers, and nothing else."""

    class Silent:
        name, label, fingerprint = "silent", "silent", "silent"
        answer = staticmethod(side.system.answer)

        def logprobs(self, rows: object, *, on_done: object) -> None:
            return None

    return replace(side, system=Silent(), weights=None, base=None, engine="server")


def test_the_first_keys_are_the_contract(tiny_path: Path) -> None:
    found = compared(tiny_path, tiny_path).as_dict()
    assert list(found)[:8] == FIRST
    assert found["pass"] is True and found["max_abs"] == 0 and found["top1"] == found["greedy_match"] == 1.0
    assert found["cause"] is None and found["apart"]["perplexity_ratio"] == 1.0
    json.dumps(found)


def test_what_a_server_does_not_show_is_not_measured_and_never_a_pass(tiny_path: Path) -> None:
    report = compared(tiny_path, tiny_path, b_as=silent)
    assert report.passed is None and report.exit_code == 3 and len(report.missing) == 3
    found = report.as_dict()
    assert [found[name] for name in FIRST[:6]] == [None] * 6 and found["greedy_match"] == 1.0


def test_a_form_without_measured_limits_is_not_measured(tiny_path: Path) -> None:
    report = compared(tiny_path, tiny_path, b_as=lambda side: replace(side, form="of tomorrow"))
    assert report.limits is None and report.passed is None and "of tomorrow" in report.missing[0]


def test_the_looser_form_is_the_one_that_rounds_more() -> None:
    assert looser("float32", "bfloat16") == looser("bfloat16", "float32") == "bfloat16"
    assert looser("float32", "of tomorrow") == looser("of tomorrow", "float32") == "of tomorrow"
    assert FORMS["float32"].noise < FORMS["bfloat16"].noise < FORMS["GGUF Q4_K_M"].noise


def test_a_divergence_shows_where_the_answers_part_and_by_what_margin(tiny_path: Path, tmp_path: Path) -> None:
    report = compared(tiny_path, make_base(tmp_path / "other", seed=23))
    assert report.answers is not None and report.answers.unexplained
    one = report.answers.unexplained[0]
    assert one.margin is not None and one.margin > 1e-3 and one.a != one.b and one.at is not None


def test_a_near_tie_is_explained_only_within_the_noise_of_the_form(tiny_path: Path) -> None:
    with opened(tiny_path) as (a,), opened(tiny_path, precision="bfloat16") as (b,):
        wide = compare_systems(a, b, PROMPTS, max_new_tokens=24)
        narrow = compare_systems(a, replace(b, form="float32"), PROMPTS, max_new_tokens=24)
    assert wide.answers is not None and narrow.answers is not None
    assert not wide.answers.unexplained and narrow.passed is False
    assert [one.at for one in wide.answers.divergences] == [one.at for one in narrow.answers.divergences]


def test_the_coarse_kl_is_exact_where_all_is_named_and_never_above_it_otherwise() -> None:
    import math

    a, b = {0: math.log(0.5), 1: math.log(0.3), 2: math.log(0.2)}, {0: math.log(0.4), 1: math.log(0.4), 2: math.log(0.2)}
    whole, part = Distance(), Distance()
    exact = 0.5 * math.log(0.5 / 0.4) + 0.3 * math.log(0.3 / 0.4)
    assert whole.add_top(a, b) == pytest.approx(exact, abs=1e-6)
    assert part.add_top({0: a[0]}, {0: b[0]}) < exact and whole.top1 == 1.0


def test_the_fixed_prompts_hold_what_conversions_break_and_long_ones_fill_the_room(tiny_chat: Chat) -> None:
    prompts = fixed_prompts(lambda messages: len(tiny_chat.encode_prompt(messages)), 300)
    kinds = {one.kind for one in prompts}
    assert {"script", "code", "numbers", "emoji", "spaces", "system", "turns", "long", "control"} <= kinds
    sizes = {one.id: len(tiny_chat.encode_prompt(one.messages)) for one in prompts}
    assert 240 < sizes["long"] <= 300 and len({one.id for one in prompts}) == len(prompts) >= 30
    text = "".join(message.content for one in prompts for message in one.messages)
    assert [letter for letter in "éйλשب一いก는🙂\t\u200b" if letter not in text] == []


def test_the_page_is_80_columns_wide_and_names_the_cause(
    tiny_path: Path, trained_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.cli.main import main
    from tunesmith.eval import parity_prompts

    short = tmp_path / "short.jsonl"
    short.write_text('{"id": "one", "kind": "plain", "messages": [{"role": "user", "content": "Tell me about the kettle."}]}\n')
    monkeypatch.setattr(parity_prompts, "_FIXED", short)
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["parity", f"{tiny_path}+{trained_adapter}", str(tiny_path), "--max-new-tokens", "8", "--project", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        main(asked)
    page = capsys.readouterr().out
    assert left.value.code == 2 and "NOT the same model" in page and "likely cause: adapter not applied" in page
    assert "next tokens" in page and "hint: merge again" in page
    lines = [line for line in page.splitlines() if "/" not in line]  # but for paths, which are not broken
    assert max(map(len, lines)) <= 80
    with pytest.raises(SystemExit) as left:
        main([*asked, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert left.value.code == 2 and list(found)[:8] == FIRST and found["cause"] == "adapter not applied"


def test_a_server_is_compared_by_its_likeliest_tokens(tiny_path: Path) -> None:
    report = compared(tiny_path, tiny_path, b_as=as_server)
    assert report.passed is True and report.apart is not None and report.apart.what == "top tokens"
