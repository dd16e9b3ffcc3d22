"""What the API tells of one model: detail, refs, commits, and who is asking."""

from crawler.local_hub.access import Visitor, commit
from crawler.local_hub.answers import Answer, bad_request, json_answer, refusal
from crawler.local_hub.repository import Repository
from crawler.local_hub.requests import Asked, Endpoint, flag
from crawler.local_hub.rows import DETAIL_FIELDS, MODEL_FIELDS, default_row, expanded_row, sibling
from crawler.local_hub.state import HubState


def detail(state: HubState, repo: Repository, asked: Asked, where: Endpoint) -> Answer:
    """The model at a revision; open for gated and disabled ones too. Refuses (400) unknown fields in `expand`."""
    commit(state, repo, where.revision)
    query = asked.query
    if "expand" in query:
        unknown = [name for name in query["expand"] if name not in DETAIL_FIELDS]
        if unknown:
            raise bad_request(
                f"Invalid expand {unknown[0][:100]!r}: expected one of {', '.join(sorted(DETAIL_FIELDS))}"
            )
        return json_answer(expanded_row(repo, state, dict.fromkeys(query["expand"])))
    row = default_row(repo, state, MODEL_FIELDS)
    if flag(query, "blobs"):
        row["siblings"] = [sibling(repo, path, state) for path in repo.files]
    return json_answer(row)


def refs(state: HubState, repo: Repository) -> Answer:
    """The one branch a folder has."""
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": state.sha(repo)}
    return json_answer({"branches": [main], "tags": [], "converts": []})


def commits(state: HubState, repo: Repository, where: Endpoint) -> Answer:
    """The one commit a folder has: its present contents."""
    sha = commit(state, repo, where.revision)
    author = {"user": repo.repo_id.partition("/")[0], "avatar": ""}
    item = {"id": sha, "title": "Upload folder", "message": "", "authors": [author], "date": repo.last_modified}
    return json_answer([item], headers={"X-Total-Count": "1"})


def whoami(who: Visitor) -> Answer:
    """Whose token this is. Refuses (401) strangers."""
    if not who.known:
        raise refusal(401, "Invalid username or password.")
    token = {"type": "access_token", "accessToken": {"displayName": "local", "role": "read"}}
    return json_answer(
        {"type": "user", "id": "0" * 24, "name": "local", "fullname": "local", "orgs": [], "auth": token}
    )
