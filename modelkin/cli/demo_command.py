"""The demo: models trained on the spot, the whole way over a local Hub, and the answer beside the truth."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelkin.cli.options import ConfigOption
from modelkin.cli.printable import plain

if TYPE_CHECKING:
    from recovery.known_graph import Truth
    from storage.lineage import ModelNode

INDEX_IN_DEMO = ".index"
"""Hidden, so that the Hub which serves the folder does not take it for a model's owner."""


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the models go.")] = Path("modelkin-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other random numbers, other models.")] = 0,
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Folder of the index; default: FOLDER/.index.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Train small models and recover their trees.

    They are served as a Hub, crawled and indexed, and the truth is shown beside the answer. Takes about two minutes the
    first time; a folder that holds the demo already is used again.
    """
    from modelkin import pipeline  # noqa: PLC0415 - help must not wait for torch
    from modelkin.cli.progress import shown_progress  # noqa: PLC0415 - as above
    from modelkin.config import load_config  # noqa: PLC0415 - as above
    from modelkin.demo.family import build_demo  # noqa: PLC0415 - as above

    index_dir = folder / INDEX_IN_DEMO if index is None else index
    with shown_progress() as watch:
        watch.start("training models", None)
        build_demo(folder, seed=seed, progress=watch.note)
        pipeline.refresh(str(folder), index_dir, config=load_config(config), progress=watch)
    _show(folder, index_dir)


def _show(folder: Path, index_dir: Path) -> None:
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above
    from modelkin.cli.score_lines import score_lines  # noqa: PLC0415 - as above
    from modelkin.truth import read_truth, score_index  # noqa: PLC0415 - as above

    truth = read_truth(folder / "truth.json")
    _show_trees(index_dir, truth)
    show_lines(["", "How right that is (modelkin evaluate)", *score_lines(score_index(truth, index_dir))])
    _show_cards_and_skips(index_dir)
    for question, query in questions(_largest_root(index_dir)):
        _answer(index_dir, question, query)
    place = f"--index {plain(shlex.quote(str(index_dir)))}"
    show_lines(
        [
            "",
            f"The models are in {plain(str(folder))}, their index in {plain(str(index_dir))}. Try:",
            f"  modelkin compare {' '.join(_first_edge(index_dir))} {place}",
            f'  modelkin sql "FROM edges ORDER BY confidence" {place}',
            f"  modelkin export --format newick {place}",
        ]
    )


def _show_trees(index_dir: Path, truth: "Truth") -> None:
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from storage.lineage import models_of_trees, open_graph, trees  # noqa: PLC0415 - as above
    from storage.provenance import edges_beside_models, ghosts_of_trees  # noqa: PLC0415 - as above

    render.show_lines(["The recovered trees, checked against how the models were really made"])
    with open_graph(index_dir) as database:
        wanted = [summary.tree for summary in trees(database, most=len(truth))]
        groups = models_of_trees(database, wanted)
        ghosts = {tree: ghosts_of_trees(database, [tree]) for tree in groups}
        further = {tree: edges_beside_models(database, [tree]) for tree in groups}
    for tree, nodes in groups.items():
        remarks = {node.repo_id: verdict(node, truth) for node in nodes}
        render.show_trees(nodes, [], remarks=remarks, ghosts=ghosts[tree], further=further[tree])


def verdict(node: "ModelNode", truth: "Truth") -> str:
    """A tick, or a cross with the truth, for a model's recovered parent."""
    if node.repo_id not in truth:
        return "? the truth does not say"
    parents = truth[node.repo_id].parents
    if node.parent in parents or (node.parent is None and not parents):
        return "✓"
    return f"✗ truly from {' and '.join(parents)}" if parents else "✗ truly a root"


def _show_cards_and_skips(index_dir: Path) -> None:
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from storage import lineage  # noqa: PLC0415 - as above

    with lineage.open_graph(index_dir) as database:
        names = [node.repo_id for node in lineage.nodes(database)]
        cards = [card for card in lineage.card_verdicts(database, names) if card.verdict in render.VERDICT_WORDS]
        skips = lineage.skipped_models(database, most=100)
    render.show_lines(["", "Cards that the weights contradict"])
    render.show_lines([f"  {plain(card.repo_id)}: {render.card_words(card)}" for card in cards] or ["  none"])
    render.show_lines(["", "Models left out"])
    render.show_lines([f"  {plain(s.repo_id)}: {plain(f'{s.reason} ({s.detail})')}" for s in skips] or ["  none"])


UNTRUE_CARDS = """\
SELECT repo_id, declared, recovered, verdict FROM card_audit
WHERE verdict NOT IN ('agrees', 'silent') ORDER BY verdict, repo_id"""

HIDDEN_LICENCES = """\
SELECT m.repo_id, m.licence AS card_says, a.licence AS inherited, a.repo_id AS inherited_from
FROM ancestry y JOIN models m ON m.repo_id = y.model JOIN models a ON a.repo_id = y.ancestor
WHERE a.parent IS NULL AND a.licence LIKE '%-nc-%' AND coalesce(m.licence, '') NOT LIKE '%-nc-%'
ORDER BY m.repo_id"""


def questions(root: str) -> Sequence[tuple[str, str]]:
    """Three questions to an index, each with the SQL that answers it; `root` is a model's name."""
    name = root.replace("'", "''")
    return (
        (f"What was made from {root}?", f"FROM descendants('{name}')"),
        ("Which cards do not tell the truth about their parent?", UNTRUE_CARDS),
        ("Which models inherit a non-commercial licence that their own card hides?", HIDDEN_LICENCES),
    )


def _answer(index_dir: Path, question: str, query: str) -> None:
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from storage.select import select  # noqa: PLC0415 - as above
    from storage.snapshots import current_snapshot  # noqa: PLC0415 - as above

    found = select(current_snapshot(index_dir), query)
    render.show_lines(["", plain(question), *(f"  {line}" for line in query.splitlines()), ""])
    render.show_table(found.columns, found.rows)


def _largest_root(index_dir: Path) -> str:
    from storage.lineage import open_graph, trees  # noqa: PLC0415 - as above

    with open_graph(index_dir) as database:
        return next((tree.root for tree in trees(database, most=1) if tree.root is not None), "")


def _first_edge(index_dir: Path) -> tuple[str, ...]:
    from storage.lineage import edges, open_graph  # noqa: PLC0415 - as above

    with open_graph(index_dir) as database:
        return next(((edge.parent, edge.child) for edge in edges(database)), ("A", "B"))
