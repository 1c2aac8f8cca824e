"""Shared by the tests of the Python interface: training that draws nothing."""

from collections.abc import Iterator

import pytest

from tests.helpers.fakes import undraw_curves


@pytest.fixture(scope="module")
def undrawn_curves() -> Iterator[None]:
    """Leave out the figures of runs."""
    with pytest.MonkeyPatch.context() as patch:
        undraw_curves(patch)
        yield
