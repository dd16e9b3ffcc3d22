"""Rows of all blocks of a model, read once a revision and kept beside the fingerprints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelkin.pipeline.member_source import Opener, finite
from modelkin.progress import Progress
from recovery.block_rows import SampledBlocks, read_blocks
from recovery.stacks import Make, Stacks, split_at_number
from storage.catalog import Catalog
from storage.errors import ModelUnreadable
from storage.graft_records import BlockModel, make_id, put_reading, stored_reading
from storage.types import TensorSource, WeightArray


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads blocks of models, each given by its layout's stacks."""

    catalog: Catalog
    stacks: Mapping[str, Stacks]  # by layout
    opener: Opener
    progress: Progress
    unreadable: set[str] = field(default_factory=set)

    def read(self, model: BlockModel, make: Make, sampled: SampledBlocks) -> WeightArray | None:
        """(blocks, sampled.weights) float32; None where the model has no such blocks, or cannot be read now.

        The next run asks again for what cannot be read.
        """
        if make not in self.stacks[model.layout_id]:
            return None
        plan_id, make_key = sampled.plan.plan_id, make_id(make)
        stored = stored_reading(self.catalog, model, plan_id=plan_id, make=make_key)
        if stored is not None or model.hub_id in self.unreadable:
            return stored
        try:
            values = self._rows(model, make, sampled)
        except ModelUnreadable as error:
            self.unreadable.add(model.hub_id)
            self.progress.note(f"the blocks of {model.repo_id} cannot be read: {error.detail}")
            return None
        put_reading(self.catalog, model, plan_id=plan_id, make=make_key, values=values)
        return values

    def _rows(self, model: BlockModel, make: Make, sampled: SampledBlocks) -> WeightArray:
        source = self.opener(model.repo_id, model.revision, model.weight_files)
        return rows_of_blocks(source, self.stacks[model.layout_id][make], sampled)


def rows_of_blocks(source: TensorSource, blocks: Sequence[str], sampled: SampledBlocks) -> WeightArray:
    """(blocks, sampled.weights) float32 of a model, whatever it calls its tensors. Raises `ModelUnreadable`."""
    names = {"".join(split): name for name in source.tensors if (split := split_at_number(name))}

    def read(name: str, start: int, stop: int) -> WeightArray:
        return finite(source.read(names[name], start, stop), name)

    return read_blocks(sampled, blocks, read)
