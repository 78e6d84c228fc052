"""What README.md says can be done is done; what it says of the options is what they are."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from msgspec.structs import fields

from actors.policy import Policy
from protocol.gateway.options import flag, shown
from protocol.gateway.settings import GatewaySettings
from settings import HELP, ServerSettings
from tests.processes import serving

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_commands_of_the_readme_work_as_they_stand(database_dir: Path) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    async with serving("server.py", "--port", "0", "--data-dir", str(database_dir)) as served:
        script = script.replace("http://127.0.0.1:8080", served.url).replace("curl -s", "curl -sS --fail-with-body")
        bash = await asyncio.create_subprocess_exec("bash", "-euo", "pipefail", "-c", script, stdout=PIPE)
        said, _ = await bash.communicate()
    assert bash.returncode == 0, said.decode()
    assert b'"body":"Nice."' in said
    assert b'"like":1' in said
    assert b'"following":true' in said
    assert b'"title":"Hello"' in said


@pytest.mark.parametrize("part", [ServerSettings, GatewaySettings, Policy])
def test_the_readme_tells_every_option_with_its_default(part: type[ServerSettings]) -> None:
    for field in fields(part):
        assert f"| `{flag(field.name)}` | {shown(field.default)} | {HELP[field.name]} |" in README
