from typing import Any

import pytest

from cgir.errors import SpecError
from frontends import spaces


@pytest.mark.parametrize(
    ("name", "skeleton", "message"),
    [
        ("nasbench201", {"image": (1, 7, 8)}, "to be multiples of 4"),  # halved by convolutions and poolings
        ("nasbench201", {"image": (1, 2, 2)}, "to be multiples of 4"),
        ("nasbench201", {"image": (1, 8)}, "expected channels, height, width"),
        ("nasbench101", {"image": (1, 3, 8)}, "in 3 stacks; expected height and width of at least 4"),
        ("nasbench1shot1", {"image": (1, 3, 8)}, "in 3 stacks; expected height and width of at least 4"),
    ],
    ids=["odd", "small", "two numbers", "nasbench101", "nasbench1shot1"],
)
def test_an_image_that_does_not_fit_is_refused(name: str, skeleton: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spaces.get(name, **skeleton)


def test_images_that_fit() -> None:
    assert spaces.get("nasbench1shot1", image=(1, 1, 1), stacks=1).image == (1, 1, 1)
    assert spaces.get("nasbench101", image=(1, 5, 7)).image == (1, 5, 7)
    assert spaces.get("nasbench201", image=(1, 4, 12)).image == (1, 4, 12)
