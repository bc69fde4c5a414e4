"""Each of several workers reads its own rows of every batch, as they are in the whole batch."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.conftest import unless_thorough
from tests.features.test_augment_on_gpu import SPECS, rows, source  # noqa: F401  (a fixture)
from tltool.features.sampler import Sampler
from tltool.training.batch_parts import own_rows


@pytest.mark.parametrize(
    "name", unless_thorough(["geometry and blends", "jpeg"], "geometry and blends")
)
def test_workers_read_the_rows_of_the_whole_batches(source, name):  # noqa: F811
    spec, sampler = SPECS[name], Sampler(source.labels, seed=3, balanced=False)
    whole = list(source.sampled(spec, sampler, epoch=2))  # 4, 4 and 2 images
    of_three = [
        list(
            source.sampled(
                spec,
                sampler,
                epoch=2,
                rows=partial(own_rows, devices=3, own=range(rank, rank + 1)),
            )
        )
        for rank in range(3)
    ]
    for number, batch in enumerate(whole):
        parts = [batches[number] for batches in of_three]
        # the last batch is smaller than the number of devices: each gets all of it
        together = rows(parts) if len(batch[0]) >= 3 else parts[2]
        for expected, found in zip(batch, together, strict=True):
            np.testing.assert_array_equal(expected, found)
