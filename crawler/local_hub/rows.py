"""How a repository looks as JSON: the default row, the fuller ones, and the projections of `expand`."""

from collections.abc import Callable, Iterable, Mapping

from crawler.local_hub.description import RELATIONS
from crawler.local_hub.repository import Repository
from crawler.local_hub.state import HubState

LISTING_FIELDS = frozenset({
    "author", "cardData", "config", "createdAt", "disabled", "downloads", "downloadsAllTime", "evalResults", "gated",
    "gguf", "inference", "inferenceProviderMapping", "lastModified", "library_name", "likes", "mask_token",
    "model-index", "pipeline_tag", "private", "resourceGroup", "safetensors", "sha", "siblings", "spaces", "tags",
    "transformersInfo", "trendingScore", "widgetData", "xetEnabled",
})  # fmt: skip
"""What `expand` may name in a listing. Fields this Hub knows nothing of are accepted, and absent from the rows."""

DETAIL_FIELDS = LISTING_FIELDS | {"baseModels", "childrenModelCount", "usedStorage"}
FULL_FIELDS = ("author", "gated", "lastModified", "sha", "siblings")
MODEL_FIELDS = (*FULL_FIELDS, "disabled", "cardData", "config", "safetensors", "spaces", "usedStorage")

Row = dict[str, object]


def expanded_row(repo: Repository, state: HubState, fields: Iterable[str]) -> Row:
    """`_id`, `id` and the named fields; one the repository has no data for is absent, not null."""
    row: Row = {"_id": repo.hub_id, "id": repo.repo_id}
    for name in fields:
        value = _FIELDS[name](repo, state) if name in _FIELDS else None
        if value is not None:
            row[name] = value
    return row


def default_row(repo: Repository, state: HubState, more: Iterable[str] = ()) -> Row:
    """The row without `expand`, plus the named fields."""
    usual = ("likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name", "createdAt")
    return {**expanded_row(repo, state, (*usual, *more)), "modelId": repo.repo_id}


def sibling(repo: Repository, path: str, state: HubState) -> Row:
    """A file as `blobs=true` shows it."""
    entry = repo.files[path]
    content = state.hashes.of(entry)
    row: Row = {"rfilename": path, "size": entry.size, "blobId": content.oid}
    if content.sha256 is not None:
        row["lfs"] = {"sha256": content.sha256, "size": entry.size, "pointerSize": len(content.pointer)}
    return row


def _bases(repo: Repository, state: HubState) -> Row | None:
    models = [base for base in (state.repository(name) for name in repo.bases) if base is not None and not base.private]
    if not models:
        return None
    return {"relation": repo.relation, "models": [{"_id": base.hub_id, "id": base.repo_id} for base in models]}


def _parameters(repo: Repository, state: HubState) -> Row | None:
    counts = state.parameters(repo)
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _children(repo: Repository, state: HubState) -> Row:
    counts = dict.fromkeys(RELATIONS, 0)
    for child in state.repositories():
        for relation in RELATIONS:
            counts[relation] += not child.private and f"base_model:{relation}:{repo.repo_id}" in child.tags
    return dict(counts)


_FIELDS: Mapping[str, Callable[[Repository, HubState], object]] = {
    "author": lambda repo, _: repo.repo_id.partition("/")[0],
    "baseModels": _bases,
    "cardData": lambda repo, _: repo.card or None,
    "childrenModelCount": _children,
    "config": lambda repo, _: repo.config or None,
    "createdAt": lambda repo, _: repo.created_at,
    "disabled": lambda repo, _: repo.disabled,
    "downloads": lambda repo, _: repo.downloads,
    "gated": lambda repo, _: repo.gated,
    "lastModified": lambda repo, _: repo.last_modified,
    "library_name": lambda repo, _: repo.library,
    "likes": lambda repo, _: repo.likes,
    "pipeline_tag": lambda repo, _: repo.pipeline_tag,
    "private": lambda repo, _: repo.private,
    "safetensors": _parameters,
    "sha": lambda repo, state: state.sha(repo),
    "siblings": lambda repo, _: [{"rfilename": path} for path in repo.files],
    "spaces": lambda _repo, _state: [],
    "tags": lambda repo, _: list(repo.tags),
    "trendingScore": lambda _repo, _state: 0,
    "usedStorage": lambda repo, _: sum(entry.size for entry in repo.files.values()),
    "xetEnabled": lambda _repo, _state: False,
}
