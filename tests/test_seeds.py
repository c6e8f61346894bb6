"""Seeds of different purposes never meet."""

from itertools import pairwise

import pytest

from training.data.episode_store import PARTS_A_ROUND
from training.stages.collect import first_seed
from wm_envs.seeds import COLLECTION, DREAMS, GAMES, LATER_COLLECTION


@pytest.mark.parametrize(("ranges", "end"), [(GAMES, 1 << 32), (DREAMS, 1 << 41)])
def test_ranges_are_in_order_and_without_gaps(ranges: tuple[range, ...], end: int) -> None:
    assert ranges[0].start == 0 and ranges[-1].stop == end
    assert all(before.stop == after.start and len(before) for before, after in pairwise(ranges))


def test_every_part_of_every_round_has_seeds_of_its_own() -> None:
    assert first_seed(0) == 1_000_000 and first_seed(3) == 1_003_000
    for index in (0, 8_999, PARTS_A_ROUND, 2 * PARTS_A_ROUND - 1, 2 * PARTS_A_ROUND, 7 * PARTS_A_ROUND):
        seeds = COLLECTION if index < PARTS_A_ROUND else LATER_COLLECTION
        assert first_seed(index) in seeds and first_seed(index) + 999 in seeds
    firsts = [first_seed(PARTS_A_ROUND + index) for index in range(2 * PARTS_A_ROUND)]
    assert all(after - before == 1000 for before, after in pairwise(firsts))
