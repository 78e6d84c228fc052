"""Without a safeguard the oracles break, within the seeds that ``ABLATIONS`` states."""

import pytest

from tests.simulation.ablations import ABLATIONS
from tests.simulation.calling import simulate


@pytest.mark.long
@pytest.mark.parametrize("safeguard", ABLATIONS)
def test_the_oracles_notice_a_safeguard_that_is_not_there(safeguard: str) -> None:
    assert f"without: {safeguard}: seed" in simulate("--without", safeguard)
