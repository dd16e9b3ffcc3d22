"""What an answer that is no success means for the model: the Hub's matrix of statuses and error codes."""

from crawler.transport import Reply
from crawler.wording import quoted
from storage.errors import HubRefused, ModelUnreadable

_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _GONE, _LEGAL = 401, 403, 404, 410, 451
_BY_CODE = {
    "GatedRepo": ("gated", "its owner grants access on request, and this token has none"),
    "RepoNotFound": ("not_found", "the repository is missing or private"),
    "RevisionNotFound": ("revision_missing", "the revision is no longer there"),
    "EntryNotFound": ("file_missing", "the file is not in the repository"),
}


def unreadable(reply: Reply, path: str) -> ModelUnreadable:
    """The error to raise for one model; the answer's own words are shown escaped, its URL and token never.

    Only a file that a commit lacks will be lacking for ever; owners and the Hub may change all else without a commit.
    Without a token the Hub answers 401 both for what is missing and for what is private. Raises `HubRefused` when it
    was the token that was refused, because then no model can be read.
    """
    message = reply.headers.get("X-Error-Message", "")
    code = reply.headers.get("X-Error-Code", "")
    if reply.status == _UNAUTHORISED and message.startswith("Invalid credentials"):
        raise HubRefused("the Hub refuses the token: log in again with `hf auth login`, or unset HF_TOKEN")
    if code in _BY_CODE:
        reason, why = _BY_CODE[code]
        return ModelUnreadable(reason, f"{quoted(path)}: {why}", retry=code != "EntryNotFound")
    if reply.status == _FORBIDDEN and "disabled" in message.lower():
        return ModelUnreadable("disabled", f"{quoted(path)}: the Hub has disabled the repository", retry=True)
    if reply.status in {_UNAUTHORISED, _NOT_FOUND, _GONE}:
        return ModelUnreadable("not_found", f"{quoted(path)}: the repository is missing or private", retry=True)
    if reply.status in {_FORBIDDEN, _LEGAL}:
        why = quoted(message or "access is forbidden")
        return ModelUnreadable("forbidden", f"{quoted(path)}: {why}", retry=True)
    return ModelUnreadable("bad_response", f"{quoted(path)}: unexpected status {reply.status}", retry=True)
