"""Who may see what: the Hub's matrix of 401, 403, 404 and 307, which differs between strangers and known tokens.

A stranger cannot tell a missing repository from a private one: both are 401 without an error code. Only who shows a
valid token learns 404 RepoNotFound.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from crawler.local_hub.answers import Refused, redirect, refusal, text_refusal
from crawler.local_hub.repository import Repository
from crawler.local_hub.requests import Asked, Endpoint, quoted_repo
from crawler.local_hub.state import HubState

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Authentication required", charset="UTF-8"'}
_MIN_SHORT_SHA = 7


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: `key` for rate limits, and what the token, if any, was granted."""

    key: str
    known: bool = False
    granted: frozenset[str] = frozenset()


def visitor(asked: Asked, tokens: Mapping[str, frozenset[str]]) -> Visitor:
    """Who asks. Refuses (401) a token that is not valid, even for what is public."""
    header = asked.headers.get("Authorization")
    if header is None:
        return Visitor(asked.peer)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or token not in tokens:
        raise refusal(401, "Invalid credentials in Authorization header", headers=_CHALLENGE)
    return Visitor(token, known=True, granted=tokens[token])


def find(state: HubState, who: Visitor, asked: Asked, where: Endpoint) -> Repository:
    """The repository an endpoint names. Refuses as the matrix says; a former name redirects, except for files."""
    repo = state.repository(where.repo_id)
    if repo is None:
        present = state.present_name(where.repo_id)
        if present is not None and not where.is_file:
            raise _moved(present, asked, where)
        repo = state.repository(present) if present is not None else None
    if repo is None or (repo.private and repo.repo_id not in who.granted):
        raise missing_repository(who, where)
    return repo


def missing_repository(who: Visitor, where: Endpoint) -> Refused:
    """The answer for a repository that is missing, or private to others."""
    refuse = text_refusal if where.is_file else refusal
    if who.known:
        return refuse(404, "Repository not found", code="RepoNotFound")
    return refuse(401, "Invalid username or password.", headers=_CHALLENGE)


def check_content(repo: Repository, who: Visitor, where: Endpoint) -> None:
    """Refuses the contents of disabled repositories (403) and of gated ones not granted (401, or 403 with a token)."""
    refuse = text_refusal if where.is_file else refusal
    if repo.disabled:
        raise refuse(403, "Access to this resource is disabled.")
    if not repo.gated or repo.repo_id in who.granted:
        return
    message = f"Access to model {repo.repo_id} is restricted"
    if who.known:
        raise refuse(403, f"{message} and you are not in the authorized list.", code="GatedRepo")
    raise refuse(401, f"{message}. You must have access to it and be authenticated.", code="GatedRepo")


def commit(state: HubState, repo: Repository, revision: str) -> str:
    """The commit a revision names: a name of the main branch, or at least 7 digits of its sha.

    Refuses all others (404): a folder holds no history.
    """
    sha = state.sha(repo)
    short = len(revision) >= _MIN_SHORT_SHA and sha.startswith(revision.lower())
    if not short and revision not in {"main", "HEAD", "refs/heads/main"}:
        raise refusal(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
    return sha


def _moved(present: str, asked: Asked, where: Endpoint) -> Refused:
    question, query = asked.target.partition("?")[1:]
    return Refused(redirect(307, f"/api/models/{quoted_repo(present)}{where.rest}{question}{query}"))
