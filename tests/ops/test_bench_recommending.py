"""`bench serve`: the figures, and which option is recommended: never one that may not ship, nor one for a chance difference."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tunesmith.eval.gate import State
from tunesmith.ops.bench.asking import Answered, Window
from tunesmith.ops.bench.figures import cell_of, ratio_of
from tunesmith.ops.bench.measuring import Measured
from tunesmith.ops.bench.options import Judged, Option
from tunesmith.ops.bench.recommending import BenchAdvice, advise

FAST, SLOW = (200.0, 204.0, 202.0, 198.0, 201.0), (100.0, 103.0, 99.0, 101.0, 102.0)


def measured(
    name: str,
    rates: Sequence[float],
    *,
    state: State = "pass",
    clients: int = 4,
    memory: int | None = 2**30,
    failed: int = 0,
    tokens: int = 10,
    problem: str = "",
) -> Measured:
    """An option that gave so many tokens per second in each round."""
    judged = Judged(state=state, why=f"{name} was judged so")
    option = Option(name=name, label=name, judged=judged, typed=f"tunesmith serve {name}")
    found = Measured(option=option, memory_bytes=memory, problem=problem)
    add(found, rates, clients=clients, failed=failed, tokens=tokens)
    return found


def add(found: Measured, rates: Sequence[float], *, clients: int, failed: int = 0, tokens: int = 10) -> None:
    for number, rate in enumerate(rates):
        whole = [Answered(seconds=1.0, first_s=0.1, tokens=tokens)] * (8 - failed)
        requests = (*whole, *[Answered(seconds=1.0, failed="out of memory")] * failed)
        seconds = 8 * tokens / rate
        found.windows.append(Window(round=number, clients=clients, seconds=seconds, requests=requests))


def advice(*found: Measured) -> BenchAdvice:
    clients = sorted({one.clients for each in found for one in each.windows})
    return advise(found, {(one.option.name, n): cell_of(one, n, price_hour=None) for one in found for n in clients})


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_rate_is_the_mean_of_its_rounds_with_an_interval_and_so_is_what_a_million_tokens_cost() -> None:
    cell = cell_of(measured("a", (90.0, 110.0, 100.0, 95.0, 105.0)), 4, price_hour=0.36)
    rate = cell.tokens_per_s
    assert rate.value == pytest.approx(100.0) and rate.low is not None and rate.high is not None
    assert 88 < rate.low < 95 and 105 < rate.high < 112
    assert cell.machine_s.value == pytest.approx(10_000.0) and cell.machine_s.high == pytest.approx(1e6 / rate.low)
    assert cell.cost.value == pytest.approx(1.0) and cell.cost.low == pytest.approx(100 / rate.high)  # 10,000 s at 0.0001 each
    assert cell_of(measured("a", FAST), 4, price_hour=None).cost.value is None
    assert cell.each_round == pytest.approx((90.0, 110.0, 100.0, 95.0, 105.0)) and cell.tokens_per_answer == 10
    assert cell.client_tokens_per_s == pytest.approx(10.0)  # nine tokens in the 0.9 s after the first


def test_one_round_gives_no_interval() -> None:
    rate = cell_of(measured("a", (90.0,)), 4, price_hour=None).tokens_per_s
    assert rate.value == pytest.approx(90.0) and rate.low is rate.high is None
    one, other = measured("a", (90.0,)), measured("b", (50.0,))
    found = ratio_of(one, other, 4)
    assert found is not None and not found.is_known and found.low is None


def test_a_quantile_of_too_few_requests_is_not_measured() -> None:
    def firsts(count: int) -> list[float | None]:
        found = measured("a", ())
        draw = random.Random(1)
        requests = tuple(Answered(seconds=9.0, first_s=draw.random(), tokens=5) for _ in range(count))
        found.windows.append(Window(round=0, clients=4, seconds=9.0, requests=requests))
        return [figure.value for figure in cell_of(found, 4, price_hour=None).first_ms]

    assert [value is None for value in firsts(1)] == [True, True, True]
    assert [value is None for value in firsts(19)] == [False, True, True]
    assert [value is None for value in firsts(99)] == [False, False, True]
    p50, p95, p99 = firsts(1000)
    assert p50 == pytest.approx(500, abs=50) and p95 == pytest.approx(950, abs=20) and p99 == pytest.approx(990, abs=8)


def test_the_interval_of_a_quantile_holds_it_and_an_end_that_cannot_be_told_is_open() -> None:
    found = measured("a", ())
    requests = tuple(Answered(seconds=9.0, first_s=n / 100, tokens=5) for n in range(100))
    found.windows.append(Window(round=0, clients=4, seconds=9.0, requests=requests))
    p50, p95, p99 = cell_of(found, 4, price_hour=None).first_ms
    assert p50.low is not None and p50.high is not None and 380 < p50.low < 495 < p50.high < 610
    assert p95.low is not None and p95.high is not None and p95.low < 940.5 < p95.high
    assert p99.low is not None and p99.high is None


def test_failed_requests_are_counted_with_their_reasons_and_their_round_has_no_rate() -> None:
    cell = cell_of(measured("a", FAST, failed=2), 4, price_hour=None)
    assert (cell.failed, cell.requests, cell.reasons) == (10, 40, ("out of memory",)) and cell.tokens_per_s.value is None


def test_options_are_compared_round_by_round_so_that_a_machine_that_slows_down_hides_nothing() -> None:
    slowing = [100.0, 60.0, 30.0, 15.0, 8.0]
    found = ratio_of(
        measured("a", [1.1 * r for r in slowing]), measured("b", [r * (1 + 0.001 * n) for n, r in enumerate(slowing)]), 4
    )
    assert found is not None and found.is_known and found.value == pytest.approx(1.1, rel=0.01)


# --- the recommendation -----------------------------------------------------------------------------------------------


def test_the_fastest_of_those_that_may_ship_is_recommended_with_its_figures() -> None:
    found = advice(measured("slow", SLOW), measured("fast", FAST))
    assert (found.option, found.state, found.typed) == ("fast", "pass", "tunesmith serve fast")
    assert (
        found.why[0].startswith("fast: 201.0 [")
        and "the fastest of 2 whose answers were tested and ended in SHIP" in found.why[0]
    )
    assert found.why[1].startswith("It gave 1.99 times [") and found.why[1].endswith("the tokens of slow.")


def test_a_faster_option_that_may_not_ship_is_not_recommended_and_that_is_said() -> None:
    found = advice(measured("slow", SLOW), measured("bad", FAST, state="fail"))
    assert (found.option, found.state) == ("slow", "pass")
    assert any(text.startswith("bad gave 1.99 times") and "may not ship (bad was judged so)" in text for text in found.why)
    alone = advice(measured("bad", FAST, state="fail"))
    assert (alone.option, alone.state) == ("", "fail") and "bad may not ship" in alone.why[0]


def test_an_untested_option_is_never_above_a_tested_one_and_alone_it_is_named_as_untested() -> None:
    found = advice(measured("slow", SLOW), measured("new", FAST, state="not measured"))
    assert (found.option, found.state) == ("slow", "pass")
    assert any("new gave 1.99 times" in text and "its answers were not tested" in text for text in found.why)
    found = advice(measured("new", FAST, state="not measured"), measured("bad", SLOW, state="fail"))
    assert (found.option, found.state) == ("new", "not measured")
    assert found.why[0].startswith("No option's answers were tested and ended in SHIP")


def test_what_the_intervals_cannot_tell_apart_is_not_called_faster_and_memory_decides() -> None:
    a, b = (100.0, 120.0, 90.0, 110.0, 105.0), (110.0, 100.0, 104.0, 96.0, 108.0)
    found = advice(
        measured("big", a, memory=3 * 2**30), measured("small", b, memory=2**30), measured("slow", [x / 9 for x in b])
    )
    assert found.option == "small" and "among the fastest of 3" in found.why[0]
    assert found.why[1].startswith("Can't tell big from small: 1.01 times [") and "holds 1" in found.why[1]
    assert found.why[2] == "Of these small takes the least memory: 1,024 MiB; the next one takes 3,072 MiB."
    found = advice(measured("big", a, memory=None), measured("small", b, memory=None))
    assert found.option == "big"  # nothing else to choose by


def test_one_round_recommends_nothing_unless_there_is_nothing_to_choose() -> None:
    found = advice(measured("a", FAST[:1]), measured("b", SLOW[:1]))
    assert (found.option, found.state) == ("", "not measured") and "one round gives no interval" in found.why[0]
    assert advice(measured("a", FAST[:1])).option == "a"


def test_an_option_that_failed_requests_or_ended_is_left_out_with_the_reason() -> None:
    found = advice(
        measured("slow", SLOW), measured("dies", FAST, problem="in round 2: it ended"), measured("sick", FAST, failed=1)
    )
    assert found.option == "slow"
    assert "dies was left out: in round 2: it ended." in found.why
    assert "sick was left out: 5 of 40 requests failed." in found.why
    found = advice(measured("dies", FAST, problem="it ended"))
    assert (found.option, found.state) == ("", "not measured") and "dies: it ended" in found.why[0]


def test_where_another_is_faster_with_fewer_clients_that_is_said() -> None:
    a, b = measured("many", FAST, clients=16), measured("few", SLOW, clients=16)
    add(a, SLOW, clients=1)
    add(b, FAST, clients=1)
    found = advice(a, b)
    assert found.option == "many"
    assert any(text.startswith("With 1 client few gave 1.99 times [") for text in found.why)


def test_shorter_answers_are_said_because_they_are_other_work() -> None:
    found = advice(measured("long", FAST), measured("short", SLOW, tokens=4))
    assert "Answers of short had 4 tokens on average, those of long 10." in found.why
    assert not any("on average" in text for text in advice(measured("long", FAST), measured("b", SLOW)).why)
