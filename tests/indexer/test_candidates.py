import itertools
from dataclasses import replace

import numpy as np
import pytest

from indexer import candidates as module
from indexer.candidates import evidence_pairs, loose_cosine, related_pairs
from indexer.clusters import connected_components
from indexer.embedding import embed
from indexer.relatedness import kin_threshold, relatedness
from indexer.settings import IndexSettings
from indexer.vector_index import build_index
from tests.support.sampled import Weights, all_pairs, fingerprints, pair_set, plan_of

SETTINGS = IndexSettings()
SHAPES = {"a": (24, 40), "b": (32, 30)}


def noise(rng: np.random.Generator) -> Weights:
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def step(rng: np.random.Generator, parent: Weights, size: float) -> Weights:
    return {name: w + np.float32(size) * noise(rng)[name] for name, w in parent.items()}


def family(rng: np.random.Generator, members: int, size: float) -> list[Weights]:
    """A random tree of steps: each member's parent is any earlier one."""
    found = [noise(rng)]
    while len(found) < members:
        found.append(step(rng, found[rng.integers(len(found))], size))
    return found


def opposite(model: Weights) -> Weights:
    """What momentum under strong decay leaves of a model."""
    return {name: np.float32(-0.01) * w for name, w in model.items()}


def forest(rng: np.random.Generator) -> list[Weights]:
    parts = [family(rng, 7, 0.3), family(rng, 5, 0.1), family(rng, 6, 1e-4), [noise(rng)], [noise(rng)]]
    parts.append([opposite(step(rng, parts[0][2], 0.1)), opposite(parts[1][4])])
    everyone = list(itertools.chain(*parts))
    return [everyone[place] for place in rng.permutation(len(everyone))]


def by_brute_force(values: np.ndarray, weights: Weights) -> set[tuple[int, int]]:
    """Every pair that passes the test, without any search."""
    left, right = all_pairs(len(values))
    score = relatedness(values, plan_of(weights), left, right)
    kin = np.abs(score) >= kin_threshold(SETTINGS.index_models)
    return set(zip(left[kin].tolist(), right[kin].tolist(), strict=True))


def test_pairs_equal_the_test_on_all_pairs_where_families_are_small(rng: np.random.Generator) -> None:
    models = forest(rng)
    values = fingerprints(models, plan_of(models[0]))
    found = related_pairs(values, plan_of(models[0]), SETTINGS)
    assert pair_set(found) == by_brute_force(values, models[0])
    assert (np.diff(found.left * len(values) + found.right) > 0).all()
    assert (np.abs(found.score) >= kin_threshold(SETTINGS.index_models)).all()
    assert (found.score < 0).any()


def test_really_trained_kin_are_paired_and_strangers_are_not(
    lineage: dict[str, Weights], gated_strangers: list[Weights]
) -> None:
    models = [lineage["root"], *gated_strangers, lineage["child"], lineage["frozen"], lineage["opposite"]]
    plan = plan_of(models[0], 64)
    found = pair_set(related_pairs(fingerprints(models, plan), plan, SETTINGS))
    assert found == set(itertools.combinations([0, 11, 12, 13], 2))


def test_a_stored_index_gives_the_same_pairs(rng: np.random.Generator) -> None:
    models = forest(rng)
    plan = plan_of(models[0])
    values = fingerprints(models, plan)
    data = build_index(embed(values, plan, dimensions=SETTINGS.dimensions))
    fresh, stored = related_pairs(values, plan, SETTINGS), related_pairs(values, plan, SETTINGS, index=data)
    assert pair_set(fresh) == pair_set(stored)
    np.testing.assert_array_equal(fresh.score, stored.score)


def test_queries_are_related_to_all_others_but_not_these_to_each_other(rng: np.random.Generator) -> None:
    models = forest(rng)
    plan = plan_of(models[0])
    values = fingerprints(models, plan)
    asked = np.asarray([3, 8, 8, 11])
    found = pair_set(related_pairs(values, plan, SETTINGS, queries=asked))
    assert found == {pair for pair in by_brute_force(values, models[0]) if set(pair) & {3, 8, 11}}


def test_models_are_related_in_any_order_of_arrival(rng: np.random.Generator) -> None:
    models = forest(rng)
    plan = plan_of(models[0])
    values = fingerprints(models, plan)
    at_once = pair_set(related_pairs(values, plan, SETTINGS))
    grown: set[tuple[int, int]] = set()
    for count in range(1, len(models) + 1):
        grown |= pair_set(related_pairs(values[:count], plan, SETTINGS, queries=np.asarray([count - 1])))
    assert grown == at_once


@pytest.mark.parametrize("hits", [2**24, 10])
def test_near_copies_stay_connected_with_their_family(
    rng: np.random.Generator, hits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three groups of copies, each larger than the number of neighbours, so that no list leaves its group."""
    monkeypatch.setattr(module, "HITS", hits)
    root = noise(rng)
    parents = [root, step(rng, root, 0.3), step(rng, root, 0.3)]
    models = [step(rng, parent, 1e-6) for parent in parents for _ in range(8)] + [noise(rng)]
    plan = plan_of(root)
    few = replace(SETTINGS, neighbours=4)
    found = related_pairs(fingerprints(models, plan), plan, few)
    labels = connected_components(len(models), found)
    assert labels.tolist() == [0] * 24 + [24]
    assert len(found.left) < 24 * 4 + 24


def test_opposites_of_a_large_family_of_near_copies_are_connected_with_it(rng: np.random.Generator) -> None:
    """Both groups are larger than the number of neighbours, and neither is in the other's list of the most similar."""
    root = noise(rng)
    models = [step(rng, root, 1e-6) for _ in range(8)] + [opposite(step(rng, root, 1e-6)) for _ in range(8)]
    models.append(noise(rng))
    plan = plan_of(root)
    values = fingerprints(models, plan)
    found = related_pairs(values, plan, replace(SETTINGS, neighbours=4))
    assert connected_components(len(models), found).tolist() == [0] * 16 + [16]
    last = related_pairs(values, plan, replace(SETTINGS, neighbours=4), queries=np.asarray([15]))
    assert 0 in connected_components(len(models), last)[8:]


def test_no_models_and_one_model_have_no_pairs(rng: np.random.Generator) -> None:
    plan = plan_of(noise(rng))
    for count in (0, 1):
        values = rng.standard_normal((count, plan.weights)).astype(np.float32)
        assert not len(related_pairs(values, plan, SETTINGS).left)


def test_strangers_rarely_reach_the_loose_cosine(rng: np.random.Generator) -> None:
    plan = plan_of(noise(rng))
    embeddings = embed(rng.standard_normal((300, plan.weights)).astype(np.float32), plan)
    cosines = (embeddings @ embeddings.T)[all_pairs(300)]
    assert cosines.max() < loose_cosine(plan, SETTINGS) < 0.2


def test_small_clusters_are_compared_pair_by_pair(rng: np.random.Generator) -> None:
    values = rng.standard_normal((5, 10)).astype(np.float32)
    pairs = evidence_pairs(values, SETTINGS)
    assert pair_set(pairs) == set(itertools.combinations(range(5), 2))
    assert not pairs.score.any()


@pytest.mark.parametrize("size", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_large_clusters_keep_every_true_parent_among_the_neighbours(rng: np.random.Generator, size: float) -> None:
    """Recall of the true parent is what pruning must not cost, however short the steps."""
    root = rng.standard_normal(2000)
    values, edges = [root], []
    for member in range(1, 150):
        parent = int(rng.integers(member))
        values.append(values[parent] + size * rng.lognormal(0, 0.7) * rng.standard_normal(2000))
        edges.append((parent, member))
    pairs = pair_set(evidence_pairs(np.asarray(values, dtype=np.float32), SETTINGS))
    assert set(edges) <= pairs
    assert len(pairs) < 150 * 16


def test_large_clusters_of_separate_groups_are_joined_by_their_nearest_pairs(rng: np.random.Generator) -> None:
    centres = 100 * rng.standard_normal((4, 30))
    values = np.concatenate([centre + rng.standard_normal((20, 30)) for centre in centres]).astype(np.float32)
    pairs = evidence_pairs(values, replace(SETTINGS, neighbours=3))
    assert not connected_components(80, pairs).any()
    exact = np.linalg.norm(values[:, None].astype(np.float64) - values[None], axis=2)
    between = [(a, b) for a, b in sorted(pair_set(pairs)) if a // 20 != b // 20]
    assert 3 <= len(between) <= 6
    for a, b in between:
        block = exact[a // 20 * 20 : a // 20 * 20 + 20, b // 20 * 20 : b // 20 * 20 + 20]
        assert exact[a, b] == block.min()


def test_copies_crowd_nobody_out(rng: np.random.Generator) -> None:
    """Forty equal uploads: each is paired with the first of its equals, and the first with its true neighbours."""
    values = rng.standard_normal((50, 30)).astype(np.float32)
    values[10:] = values[10]
    settings = replace(SETTINGS, neighbours=4, all_pairs_members=8)
    pairs = pair_set(evidence_pairs(values, settings))
    assert {(10, other) for other in range(11, 50)} <= pairs
    assert sum(left < 10 and right >= 10 for left, right in pairs) >= 4
    assert all(right == 10 for left, right in pairs if left < 10 <= right)


def test_signed_zeros_are_equal_values() -> None:
    values = np.zeros((6, 3), dtype=np.float32)
    values[1] = -0.0
    pairs = evidence_pairs(values, replace(SETTINGS, neighbours=2, all_pairs_members=2))
    assert (0, 1) in pair_set(pairs)
    assert not connected_components(6, pairs).any()


def test_identical_samples_are_kin_even_where_rows_are_too_few_for_the_test(rng: np.random.Generator) -> None:
    model, other = noise(rng), noise(rng)
    plan = plan_of(model, rows=2)
    values = fingerprints([other, model, model, model], plan)
    assert (relatedness(values, plan, *all_pairs(4)) < kin_threshold(SETTINGS.index_models)).all()
    found = related_pairs(values, plan, SETTINGS)
    assert pair_set(found) == {(1, 2), (1, 3)}
    assert np.isposinf(found.score).all()
    assert pair_set(related_pairs(values, plan, SETTINGS, queries=np.array([3]))) == {(1, 3)}
