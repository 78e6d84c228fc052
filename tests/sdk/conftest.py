"""The JavaScript client, installed by npm as its lock file says when the first test asks for it."""

import shutil
import subprocess

import pytest

from tests.sdk.clients import HERE


@pytest.fixture(scope="session")
def node_modules() -> None:
    if (HERE / "node_modules" / ".package-lock.json").exists():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node is not installed: the JavaScript client is not tested")
    installed = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"npm could not install the JavaScript client, which is not tested: {installed.stderr[-500:]}")
