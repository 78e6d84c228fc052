"""How a benchmark ends: what is shown, what is written, and its status."""

from pathlib import Path

import pytest

from tests.bench import results
from tests.bench.results import concluded


def test_results_and_plots_are_written_and_shortcomings_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    (tmp_path / "plots").mkdir()
    assert concluded("# One\n\n0\n", ["too slow"], trial=True) == 0
    assert not list(tmp_path.glob("*.md"))
    assert concluded("# One\n\n1\n", ["too slow"], trial=False, plots={"one": "<svg/>"}) == 1
    assert capsys.readouterr().err == "too slow\n"
    assert concluded("# Two\n\n2\n", [], trial=False) == 0
    assert (tmp_path / "RESULTS.md").read_text() == "# One\n\n1\n\n# Two\n\n2\n"
    assert (tmp_path / "plots" / "one.svg").read_text() == "<svg/>"
