import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.tiny_training import Weights
from tests.support.trained_hub import trained_models, write_hub


@pytest.fixture(scope="session")
def models() -> Mapping[str, Weights]:
    return trained_models()


@pytest.fixture(scope="session")
def pristine_hub(models: Mapping[str, Weights], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hub(tmp_path_factory.mktemp("hub"), models)


@pytest.fixture(scope="session")
def pristine_index(pristine_hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the hub, built from scratch; read only."""
    index = tmp_path_factory.mktemp("index")
    refresh(str(pristine_hub), index, config=Config(), progress=Silent())
    return index


@pytest.fixture
def hub(pristine_hub: Path, tmp_path: Path) -> Path:
    """A hub of one's own to change."""
    return Path(shutil.copytree(pristine_hub, tmp_path / "hub"))


@pytest.fixture
def index(pristine_index: Path, tmp_path: Path) -> Path:
    """An index of one's own, as it was after the first refresh."""
    return Path(shutil.copytree(pristine_index, tmp_path / "index"))
