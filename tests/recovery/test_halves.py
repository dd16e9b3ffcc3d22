"""Halves go to a device as they are stored, and the evidence is that of float32; tested on the processor too."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

import recovery.passes
from recovery.evidence import gather
from recovery.halves import narrowed, travelling_format, widened
from recovery.reading import ReadTile, TileReader
from recovery.settings import EvidenceSettings
from storage.types import TensorSpec
from tests.support.devices import EVERY_DEVICE
from tests.support.memory_source import MemorySource, all_pairs

GRIDS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def models(dtype: str) -> list[MemorySource]:
    generator = np.random.default_rng(0)
    base = {name: generator.normal(size=shape) for name, shape in {"a": (70, 40), "b": (300, 256)}.items()}
    steps = [{name: w + 0.01 * generator.normal(size=w.shape) for name, w in base.items()} for _ in range(3)]
    stored = [{name: torch.from_numpy(w).to(GRIDS[dtype]).float().numpy() for name, w in m.items()} for m in steps]
    return [MemorySource(model, dtype) for model in stored]


@EVERY_DEVICE
@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_number_of_16_bits_comes_out_as_it_went_in(dtype: str, device: str):
    bits = torch.arange(-(2**15), 2**15).to(torch.int16).reshape(256, 256)
    weights = bits.view(GRIDS[dtype]).float()
    there = narrowed(weights.numpy(), dtype)
    assert there.itemsize == 2
    torch.testing.assert_close(widened(there, dtype, device).cpu(), weights, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("dtype", "memory_bytes"), [("F16", 2**30), ("BF16", 2**30), ("BF16", 2**22)])
def test_the_evidence_is_that_of_float32(dtype: str, memory_bytes: int, monkeypatch: pytest.MonkeyPatch):
    settings = EvidenceSettings(memory_bytes=memory_bytes)
    wide = gather(models(dtype), all_pairs(3), settings)
    taken: list[np.dtype] = []
    take = TileReader.take

    def noted(reader: TileReader) -> tuple[object, ReadTile]:
        read, tile = take(reader)
        taken.append(tile.weights.dtype)
        return read, tile

    planned = recovery.passes.planned_layer
    monkeypatch.setattr(TileReader, "take", noted)
    monkeypatch.setattr("recovery.evidence.planned_layer", lambda *a, **k: replace(planned(*a, **k), travelling=dtype))
    half = gather(models(dtype), all_pairs(3), settings)
    assert set(taken) == {np.dtype(np.uint16)}
    for part in ("pairs", "moments"):
        for field in fields(getattr(wide, part)):
            one, other = (getattr(getattr(evidence, part), field.name) for evidence in (wide, half))
            if field.name != "layers":
                np.testing.assert_allclose(one, other, rtol=1e-12, err_msg=field.name)


def spec(dtype: str, file: str = "a.safetensors") -> TensorSpec:
    return TensorSpec("a", dtype, (4, 4), file, 0, 32)


def test_a_layer_goes_as_halves_where_all_members_store_it_so():
    assert travelling_format([spec("BF16"), spec("BF16")]) == "BF16"
    assert travelling_format([spec("F16")]) == "F16"
    assert travelling_format([spec("BF16"), spec("F16")]) == "F32"
    assert travelling_format([spec("F32"), spec("F32")]) == "F32"
    assert travelling_format([spec("INT8")]) == "F32"


def test_a_fingerprint_goes_in_float32_since_its_format_is_that_of_most_of_its_weights():
    assert travelling_format([spec("BF16", file="")]) == "F32"
