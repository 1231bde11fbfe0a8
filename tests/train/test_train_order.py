"""Data order and learning rate are pure functions: nothing but (seed, epoch, index) decides what is learned when."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.layout import lay_out
from tunesmith.train.batches import Batches, Sizes, epoch_order, even_parts, parts_of, shared_tokens
from tunesmith.train.padded import collate
from tunesmith.train.units import Batch, Unit, rows_of

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=120)


def row(number: int, size: int) -> Encoded:
    return Encoded(tuple([number + 10] * size), tuple([False] + [True] * (size - 1)))


def units(lengths: list[int]) -> list[Unit]:
    return [Unit((row(n, size),), weight=size - 1) for n, size in enumerate(lengths)]


def laid(units: Sequence[Unit]) -> Batch:
    return Batch(tuple(units), lay_out(rows_of(units)))


@given(LENGTHS, st.integers(1, 20), st.integers(0, 2**32), st.integers(0, 50))
def test_every_example_is_seen_once_an_epoch_in_batches_of_the_size_asked(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    batches = epoch_order(lengths, sizes=Sizes(examples=size), seed=seed, epoch=epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches) and len(batches) == -(-len(lengths) // size)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 9), st.integers(0, 9))
def test_the_order_depends_on_nothing_but_seed_epoch_and_lengths(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    first = epoch_order(lengths, sizes=Sizes(examples=size), seed=seed, epoch=epoch)
    epoch_order(lengths, sizes=Sizes(examples=size), seed=seed + 1, epoch=epoch + 1)
    torch.manual_seed(seed)
    assert epoch_order(lengths, sizes=Sizes(examples=size), seed=seed, epoch=epoch) == first


def test_another_epoch_and_another_seed_have_another_order() -> None:
    orders = [epoch_order([7] * 60, sizes=Sizes(examples=4), seed=s, epoch=e) for s, e in ((1, 0), (1, 1), (2, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_batch_is_the_same_whether_the_ones_before_it_were_asked_for_or_not() -> None:
    def fresh() -> Batches:
        return Batches(units([5, 9, 3, 14, 8, 2, 11]), sizes=Sizes(examples=2), seed=3, most_tokens=10_000, lay_out=laid)

    def ids(parts: Sequence[Batch]) -> torch.Tensor:
        return parts[0].layout.ids_T

    walked = fresh()
    for index in range(40):
        assert torch.equal(ids(walked.at(index)), ids(fresh().at(index)))


@given(LENGTHS, st.integers(1, 3000), st.integers(0, 2**32), st.integers(0, 50))
def test_batches_by_tokens_hold_every_example_once_and_about_the_tokens_asked(
    lengths: list[int], tokens: int, seed: int, epoch: int
) -> None:
    sizes = Sizes(examples=1, tokens=tokens)
    batches = epoch_order(lengths, sizes=sizes, seed=seed, epoch=epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batches) and len(batches) == min(len(lengths), sizes.num_batches(lengths))
    assert max(sum(lengths[i] for i in batch) for batch in batches) <= tokens + 2 * max(lengths)


@given(st.integers(1, 90), st.integers(0, 90), st.integers(1, 12), st.integers(0, 2**32), st.integers(0, 3))
def test_every_batch_has_its_share_of_each_kind(author: int, own: int, size: int, seed: int, epoch: int) -> None:
    kinds = [*["author"] * author, *["own"] * own]
    lengths = [*[40] * author, *[90] * own]  # sorting by length alone would keep them apart
    batches = epoch_order(lengths, sizes=Sizes(examples=size), seed=seed, epoch=epoch, kinds=kinds)
    assert sorted(i for batch in batches for i in batch) == list(range(author + own))
    for batch in batches:
        share = sum(kinds[i] == "own" for i in batch)
        assert abs(share - len(batch) * own / (author + own)) <= 2


def test_the_base_s_own_answers_are_a_kind_of_their_own() -> None:
    batches = epoch_order([40, 90] * 24, sizes=Sizes(examples=8), seed=1, epoch=0, kinds=["", "own_answers"] * 24)
    assert all(len({i % 2 for i in batch}) == 2 for batch in batches)


def test_rows_that_begin_alike_come_together() -> None:
    alike = [1, 2] * 40
    batches = epoch_order([30] * 80, sizes=Sizes(examples=8), seed=1, epoch=0, alike=alike)
    mixed = sum(len({alike[i] for i in batch}) > 1 for batch in batches)
    assert mixed <= 2, "one batch a window may straddle the border between the two beginnings"


@given(LENGTHS, st.integers(1, 900))
def test_a_batch_in_parts_is_the_same_rows_in_order_and_no_part_is_too_large(lengths: list[int], most: int) -> None:
    parts = parts_of(range(len(lengths)), lengths, most)
    assert [i for part in parts for i in part] == list(range(len(lengths)))
    assert all(len(part) == 1 or sum(lengths[i] for i in part) <= most for part in parts)


def test_a_batch_shrinks_until_single_rows_are_left() -> None:
    made = Batches(units([40] * 8), sizes=Sizes(examples=8), seed=0, most_tokens=10_000, lay_out=laid)
    counts = [len(made.at(0))]
    while made.shrink():
        counts.append(len(made.at(0)))
    assert counts == [1, 2, 4, 8]


def test_lengths_of_a_batch_are_alike_so_that_little_is_padded() -> None:
    lengths = [10] * 64 + [400] * 64
    batches = epoch_order(lengths, sizes=Sizes(examples=8), seed=0, epoch=0)
    padded = sum(max(lengths[i] for i in b) * len(b) for b in batches)
    assert padded < 1.3 * sum(lengths)


def test_padding_is_masked_never_learned_and_the_first_token_has_no_label() -> None:
    batch = collate([Encoded((5, 6, 7), (True, True, True)), Encoded((8,), (True,))], pad_id=0, device="cpu")
    assert batch.ids_BT.tolist() == [[5, 6, 7], [8, 0, 0]] and batch.mask_BT.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.learned_BT.tolist() == [[False, True, True], [False, False, False]]
    assert (batch.num_learned, batch.num_tokens) == (2, 4)


@given(LENGTHS, st.integers(1, 20), st.sampled_from([0, 300]), st.integers(0, 99))
def test_short_first_orders_the_first_epoch_alone(lengths: list[int], size: int, tokens: int, seed: int) -> None:
    sizes = Sizes(examples=size, tokens=tokens)
    first = [i for batch in epoch_order(lengths, sizes=sizes, seed=seed, epoch=0, short_first=True) for i in batch]
    assert [lengths[i] for i in first] == sorted(lengths) and sorted(first) == list(range(len(lengths)))
    later = epoch_order(lengths, sizes=sizes, seed=seed, epoch=1, short_first=True)
    assert later == epoch_order(lengths, sizes=sizes, seed=seed, epoch=1)


@given(LENGTHS, st.integers(1, 3000))
def test_even_parts_hold_every_row_once_in_order_and_are_about_as_large_as_each_other(lengths: list[int], enough: int) -> None:
    parts = even_parts(range(len(lengths)), lengths, [0] * len(lengths), enough)
    assert [row for part in parts for row in part] == list(range(len(lengths))) and all(parts)
    aim = sum(lengths) / -(-sum(lengths) // enough)
    assert max(sum(lengths[i] for i in part) for part in parts) <= aim + max(lengths)


def test_what_rows_share_is_not_computed_again_for_the_sake_of_small_parts() -> None:
    """Eight answers of 100 tokens after 400 shared ones: two parts would compute a third more."""
    new, again = [500, *[100] * 7], [0, *[400] * 7]
    assert even_parts(range(8), new, again, 512) == [list(range(8))]
    assert len(even_parts(range(8), new, [0] * 8, 512)) > 1


def test_shared_tokens_are_counted_from_the_start() -> None:
    a, b, c = (Encoded(ids, (True,) * len(ids)) for ids in ((1, 2, 3, 4), (1, 2, 9, 4), (1, 2)))
    assert (shared_tokens(a, b), shared_tokens(a, c), shared_tokens(a, a), shared_tokens(b, Encoded((9,), (True,)))) == (
        2,
        2,
        4,
        0,
    )


def test_a_batch_in_small_parts_has_the_rows_of_the_whole_one() -> None:
    def made(enough: int) -> Batches:
        return Batches(
            units([50, 90, 30, 140]), sizes=Sizes(examples=4), seed=3, most_tokens=10_000, lay_out=laid, enough=enough
        )

    whole, parts = made(0).at(0), made(160).at(0)
    assert len(whole) == 1 and len(parts) == 2
    assert sorted(len(row.ids) for part in parts for row in rows_of(part.units)) == [30, 50, 90, 140]


def test_where_memory_runs_out_the_parts_that_were_too_large_become_smaller() -> None:
    batches = Batches(units([100] * 8), sizes=Sizes(examples=8), seed=3, most_tokens=10_000, lay_out=laid, enough=400)
    before = max(part.num_tokens for part in batches.at(0))
    assert batches.shrink() and max(part.num_tokens for part in batches.at(0)) <= before / 2
