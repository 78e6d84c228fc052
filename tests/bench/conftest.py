"""What tests of benchmarks share: their programs."""

import shutil
from typing import NamedTuple

import pytest

from tests.bench.watchers import compiled


class Programs(NamedTuple):
    """Those written in C, made once."""

    watch: str
    send: str


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    if shutil.which("cc") is None:
        pytest.skip("There is no C compiler: on Debian, apt-get install gcc libc6-dev")
    directory = tmp_path_factory.mktemp("programs")
    return Programs(watch=compiled("watch", directory), send=compiled("send", directory))
