import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.faults itself

import pytest

from tests.faults.experiments import Bench
from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    with Zygote() as process:
        yield process


@pytest.fixture(scope="session")
def bench(zygote, tmp_path_factory):
    return Bench(zygote, tmp_path_factory.mktemp("undisturbed")).undisturbed()


@pytest.fixture
def chance(request):
    return random.Random(request.node.name)
