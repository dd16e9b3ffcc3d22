"""The weights of a model as a user names it: one of the index, a folder, or a file of weights."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np

from crawler.sources import FolderSource, HubReader, HubSource
from modelkin.config import Config
from modelkin.pickles import PickleReader
from modelkin.pipeline.hub_address import HubAddress, reach
from storage.errors import IndexFault, ModelUnreadable, UnknownModel, UsageError
from storage.lineage import ModelNode, mirrored_hub, model, open_graph, weight_files
from storage.types import Architecture, SamplePlan, TensorSource, WeightArray


class DescribedSource(TensorSource, Protocol):
    """A source of weights that also tells its architecture."""

    @property
    def architecture(self) -> Architecture:
        """What makes the model comparable to others."""
        ...


def sample_of(source: DescribedSource, plan: SamplePlan) -> WeightArray:
    """(plan.weights,) float32: the fingerprint that a crawl would take. Raises `ModelUnreadable`."""
    blocks = zip(plan.names, plan.row_start.tolist(), plan.row_count.tolist(), strict=True)
    return np.concatenate([source.read(name, start, start + count).ravel() for name, start, count in blocks])


@contextmanager
def opened_weights(names: tuple[str, ...], index_dir: Path, config: Config) -> Iterator[list[DescribedSource]]:
    """The weights of each named model, readable inside the block.

    A name that the index holds is that model, read from the Hub that the index mirrors; any other must be a path, which
    needs no index. Raises `UnknownModel` when a name is neither, `ModelUnreadable` when a model cannot be read.
    """
    with ExitStack() as stack:
        pickles = stack.enter_context(PickleReader())
        hub = _Hub(stack, index_dir, config, pickles)
        yield [_opened(hub, name, index_dir, pickles) for name in names]


def _opened(hub: "_Hub", name: str, index_dir: Path, pickles: PickleReader) -> DescribedSource:
    try:
        return hub.indexed(name) or _on_disk(name, index_dir, pickles)
    except ModelUnreadable as error:
        raise ModelUnreadable(error.reason, f"{name}: {error.detail}", retry=error.retry) from error


class _Hub:
    """The mirrored Hub, reached at the first indexed model and left when the stack is closed."""

    def __init__(self, stack: ExitStack, index_dir: Path, config: Config, pickles: PickleReader) -> None:
        self._pickles = pickles
        self._stack = stack
        self._index_dir = index_dir
        self._config = config
        self._reader: HubReader | None = None

    def indexed(self, name: str) -> DescribedSource | None:
        """The model of that name in the index; None when there is no such model, or no index."""
        try:
            with open_graph(self._index_dir) as database:
                node, files = model(database, name), weight_files(database, name)
                address = HubAddress(mirrored_hub(database) or "")
        except (UnknownModel, IndexFault):
            return None
        if not address.location:
            raise UsageError("the index does not say which Hub it mirrors: run `modelkin crawl` first")
        if address.is_folder:
            return FolderSource(Path(address.location) / name, contents=self._pickles.contents)
        return self._from_hub(address, node, files)

    def _from_hub(self, address: HubAddress, node: ModelNode, files: list[str]) -> HubSource:
        if self._reader is None:
            endpoint, token = self._stack.enter_context(reach(address))
            self._reader = self._stack.enter_context(HubReader(endpoint, token=token, settings=self._config.hub))
        return self._reader.open(node.repo_id, node.revision, files)


def _on_disk(name: str, index_dir: Path, pickles: PickleReader) -> FolderSource:
    path = Path(name).expanduser()
    if not path.exists():
        _refuse(name, index_dir)
    return FolderSource(path, contents=pickles.contents)


def _refuse(name: str, index_dir: Path) -> NoReturn:
    """Says why a name that is no path is unknown, and what comes close."""
    try:
        with open_graph(index_dir) as database:
            model(database, name)
    except IndexFault as error:
        raise UsageError(f"{name} is no path, and no model of an index: {error}") from error
    raise UsageError(f"{name} was added to the index this moment: ask again")
