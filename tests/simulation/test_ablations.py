"""Without a safeguard the oracles break, within the seeds that ``ABLATIONS`` states."""

import pytest

from tests.simulation.ablations import ABLATIONS
from tests.simulation.calling import simulate


@pytest.mark.long
@pytest.mark.parametrize("safeguard", ABLATIONS)
def test_the_oracles_notice_a_safeguard_that_is_not_there(safeguard: str) -> None:
    said = simulate("--without", safeguard)
    assert f"without: {safeguard}: seed" in said
    assert "TypeError" not in said, "what was put in its place is not called as it was"
