import numpy as np
import pytest

from indexer.vector_index import build_index, index_embeddings, load_index
from storage.errors import IndexFault


@pytest.fixture
def embeddings(rng: np.random.Generator) -> np.ndarray:
    found = rng.standard_normal((50, 32)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_nearest_equals_sorting_all_cosines(embeddings: np.ndarray) -> None:
    rows, cosines = index_embeddings(embeddings).nearest(embeddings[:7], 5)
    exact = embeddings[:7] @ embeddings.T
    np.testing.assert_array_equal(rows, np.argsort(-exact, axis=1)[:, :5])
    np.testing.assert_allclose(cosines, -np.sort(-exact, axis=1)[:, :5], atol=1e-6)


def test_within_finds_every_row_above_the_cosine(embeddings: np.ndarray) -> None:
    query, row, cosine = index_embeddings(embeddings).within(embeddings[:7], 0.2)
    exact = embeddings[:7] @ embeddings.T
    assert set(zip(query.tolist(), row.tolist(), strict=True)) == set(
        zip(*(part.tolist() for part in np.nonzero(exact > 0.2)), strict=True)
    )
    np.testing.assert_allclose(cosine, exact[query, row], atol=1e-6)


def test_missing_neighbours_are_minus_one(embeddings: np.ndarray) -> None:
    rows, _ = index_embeddings(embeddings[:2]).nearest(embeddings[:1], 4)
    assert rows.tolist() == [[0, 1, -1, -1]]


def test_bytes_give_back_the_same_index_under_the_same_ids(embeddings: np.ndarray) -> None:
    ids = np.arange(1000, 1050)
    data = build_index(embeddings, ids)
    assert data == build_index(embeddings, ids)
    loaded = load_index(data)
    assert loaded.size == 50
    assert loaded.nearest(embeddings, 1)[0][:, 0].tolist() == ids.tolist()


def test_an_empty_index_can_be_stored(embeddings: np.ndarray) -> None:
    loaded = load_index(build_index(embeddings[:0]))
    assert loaded.size == 0
    assert loaded.nearest(embeddings[:1], 1)[0].tolist() == [[-1]]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:0], lambda data: data[:-4] + b"\0\1\2\3"]
)
def test_damaged_bytes_are_refused(embeddings: np.ndarray, damage: object) -> None:
    with pytest.raises(IndexFault, match="rebuilds"):
        load_index(damage(build_index(embeddings)))
