"""A refresh counts the habits of the index, and states confidence by them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.tiny_training import Weights
from tests.support.trained_hub import put_card, put_model, query


def test_a_card_that_names_a_missing_base_takes_most_of_the_confidence_of_the_only_edge(
    models: Mapping[str, Weights], tmp_path: Path
):
    hub, index = tmp_path / "hub", tmp_path / "index"
    for name in ("lab/root", "lab/tuned"):
        put_model(hub, name, models[name])
    refresh(str(hub), index, config=Config(), progress=Silent())
    assert query(index, "SELECT parent, child FROM edges") == [("lab/root", "lab/tuned")]
    (weighed,) = query(index, "SELECT confidence FROM edges")[0]
    put_card(hub, "lab/tuned", "gone/away")
    refresh(str(hub), index, config=Config(), progress=Silent())
    assert query(index, "SELECT trained_cards, absent_bases FROM habits") == [(1, 1)]
    assert query(index, "SELECT confidence FROM edges")[0][0] == pytest.approx(weighed / 4)
    history = query(index, "SELECT confidence FROM edge_history WHERE valid_to_run IS NULL")
    assert history[0][0] == pytest.approx(weighed)
