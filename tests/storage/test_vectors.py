from pathlib import Path

import numpy as np
import pytest

from storage.errors import IndexFault
from storage.vectors import (
    collect_files,
    read_fingerprints,
    read_vector_index,
    values_sha256,
    write_fingerprints,
    write_vector_index,
)


def batch(seed: int, models: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(models, 7)).astype(np.float32)


def test_fingerprints_come_back_in_the_asked_order_from_several_files(tmp_path: Path):
    first, second = batch(1), batch(2)
    names = [write_fingerprints(tmp_path, "plan", first), write_fingerprints(tmp_path, "plan", second)]
    found = read_fingerprints(tmp_path, [names[1], names[0], names[1]], np.array([2, 0, 0]))
    np.testing.assert_array_equal(found, np.stack([second[2], first[0], second[0]]))


def test_the_same_batch_has_the_same_name_and_is_written_once(tmp_path: Path):
    name = write_fingerprints(tmp_path, "plan", batch(1))
    written = (tmp_path / name).stat().st_mtime_ns
    assert write_fingerprints(tmp_path, "plan", batch(1)) == name
    assert (tmp_path / name).stat().st_mtime_ns == written
    assert write_fingerprints(tmp_path, "plan", batch(2)) != name


def test_digests_differ_when_one_bit_differs():
    values = batch(1)[0]
    other = values.copy()
    other[3] = np.nextafter(other[3], np.float32(9))
    assert values_sha256(values) == values_sha256(values.copy()) != values_sha256(other)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_fingerprint_file_is_reported_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(IndexFault, match=r"bad\.npy"):
        read_fingerprints(tmp_path, ["bad.npy"], np.array([0]))


def test_a_fingerprint_file_of_another_make_is_refused(tmp_path: Path):
    np.save(tmp_path / "odd.npy", np.zeros(4))
    with pytest.raises(IndexFault, match="no fingerprint file"):
        read_fingerprints(tmp_path, ["odd.npy"], np.array([0]))


def test_pickled_arrays_are_never_loaded(tmp_path: Path):
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(IndexFault, match=r"object\.npy"):
        read_fingerprints(tmp_path, ["object.npy"], np.array([0]))


def test_no_fingerprints_are_an_empty_matrix(tmp_path: Path):
    assert read_fingerprints(tmp_path, [], np.array([], dtype=np.int64)).shape == (0, 0)


def test_a_vector_index_comes_back_or_is_missing(tmp_path: Path):
    write_vector_index(tmp_path, "a.faiss", b"bytes")
    assert read_vector_index(tmp_path, "a.faiss") == b"bytes"
    assert read_vector_index(tmp_path, "b.faiss") is None


def test_collecting_removes_what_nobody_refers_to(tmp_path: Path):
    kept = write_fingerprints(tmp_path, "plan", batch(1))
    write_fingerprints(tmp_path, "plan", batch(2))
    (tmp_path / ".half-written").write_bytes(b"")
    assert collect_files(tmp_path, {kept}) == 2
    assert [path.name for path in tmp_path.iterdir()] == [kept]


def test_a_write_that_fails_leaves_no_file(tmp_path: Path):
    with pytest.raises(TypeError):
        write_vector_index(tmp_path, "a.faiss", None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
