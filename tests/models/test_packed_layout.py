"""Token trees: every row is in them whole, what is alike is there once, and nothing else changes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.attention_plan import plan_attention
from tunesmith.models.packed.layout import lay_out, segments_of, tokens_of

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=60).map(tuple), min_size=1, max_size=12)


def whole(*ids: int, learned_from: int = 1) -> Encoded:
    return Encoded(tuple(ids), tuple(i >= learned_from for i in range(len(ids))))


@given(ROWS, st.booleans())
def test_every_row_can_be_read_back_along_its_path(rows: list[tuple[int, ...]], share: bool) -> None:
    tree = lay_out([Encoded(row, (True,) * len(row)) for row in rows], share=share)
    for row, path in zip(rows, tree.paths, strict=True):
        at = tokens_of(tree.segments, path)
        assert tuple(tree.ids_T[at].tolist()) == row
        assert tree.positions_T[at].tolist() == list(range(len(row)))
        parents = [tree.segments[s].parent for s in path]
        assert parents == [-1, *path[:-1]]


@given(ROWS)
def test_segments_tile_the_tree_and_parents_come_before_children(rows: list[tuple[int, ...]]) -> None:
    segments, _ = segments_of(rows)
    assert [s.begin for s in segments[1:]] == [s.end for s in segments[:-1]] and segments[0].begin == 0
    assert all(s.parent < number and s.begin < s.end for number, s in enumerate(segments))


@given(ROWS)
def test_predictions_are_those_of_the_rows_one_by_one(rows: list[tuple[int, ...]]) -> None:
    coded = [Encoded(row, tuple(i % 3 != 1 for i in range(len(row)))) for row in rows]
    tree = lay_out(coded)
    wanted = [(n, row.ids[i - 1], row.ids[i]) for n, row in enumerate(coded) for i in range(1, len(row.ids)) if row.learned[i]]
    found = zip(tree.row_N.tolist(), tree.ids_T[tree.at_N].tolist(), tree.target_N.tolist(), strict=True)
    assert list(found) == wanted


def test_a_shared_system_prompt_is_laid_once() -> None:
    system = tuple(range(10, 55))
    tree = lay_out([whole(*system, 60 + n, *([70 + n] * (n + 3))) for n in range(4)])
    assert len(tree.ids_T) == 45 + sum(n + 4 for n in range(4)) and len(tree.segments) == 5
    assert tree.num_tokens == sum(45 + n + 4 for n in range(4))


def test_a_prompt_with_two_answers_and_a_conversation_that_goes_on_share_what_they_have() -> None:
    prompt = tuple(range(20, 50))
    tree = lay_out([whole(*prompt, 1, 2, 3), whole(*prompt, 4, 5), whole(*prompt, 4, 5, *range(60, 75))])
    assert len(tree.ids_T) == 30 + 3 + 2 + 17  # the two tokens that the answers share are not worth a segment
    assert tree.num_learned == 32 + 31 + 46


def test_equal_rows_are_computed_once_and_learned_twice() -> None:
    tree = lay_out([whole(*range(30)), whole(*range(30))])
    assert len(tree.ids_T) == 30 and tree.num_learned == 58


def test_without_sharing_nothing_is_shared() -> None:
    tree = lay_out([whole(*range(30)), whole(*range(30))], share=False)
    assert len(tree.ids_T) == 60


@given(ROWS)
def test_the_attention_plan_lets_a_token_see_its_own_row_up_to_itself_and_nothing_else(rows: list[tuple[int, ...]]) -> None:
    tree = lay_out([Encoded(row, (True,) * len(row)) for row in rows])
    sees: list[set[int]] = [set() for _ in range(len(tree.ids_T))]
    plan = plan_attention([(s.begin, s.end, s.parent) for s in tree.segments], device="cpu")
    for number, (bucket, at) in enumerate(zip(plan.buckets, plan.rows(1, 1).buckets, strict=True)):
        n, mask = len(bucket.segments), plan.mask(number, 1, torch.float32)
        for segment in range(n):
            length = bucket.segments[segment][1] - bucket.segments[segment][0]
            queries = at.queries.view(n, -1)[segment][:length].tolist()
            keys = at.keys.view(n, -1)[segment]
            for place, query in enumerate(queries):
                sees[query] = set(keys[mask[place] == 0].tolist())
    for path in tree.paths:
        at_row = tokens_of(tree.segments, path).tolist()
        for place, token in enumerate(at_row):
            assert sees[token] == set(at_row[: place + 1])
