"""`tree` and `paths-info`: a repository's files and directories with their git identifiers."""

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from crawler.local_hub.answers import Answer, bad_request, json_answer, text_refusal
from crawler.local_hub.repository import FileEntry, Repository
from crawler.local_hub.requests import Asked, Endpoint, flag, form_fields
from crawler.local_hub.rows import Row
from crawler.local_hub.state import HubState

_PAGE_CAP = 1000
_EXPANDED_PAGE_CAP = 50


def tree(state: HubState, repo: Repository, asked: Asked, *, where: Endpoint, endpoint: str) -> Answer:
    """One page of a directory, recursive if asked. Refuses a missing directory (404) and an impossible limit (400)."""
    query, directory = asked.query, where.path.strip("/")
    paths = _paths_below(repo.files, directory, recursive=flag(query, "recursive"))
    if directory and not paths:
        raise entry_missing(where, state.sha(repo), directory)
    expand = flag(query, "expand")
    limit = _limit(query.get("limit", [""])[-1], _EXPANDED_PAGE_CAP if expand else _PAGE_CAP)
    after = _after(query["cursor"][-1]) if "cursor" in query else ""
    page = [path for path in paths if path > after][: limit + 1]
    rows = path_rows(state, repo, page[:limit], expand=expand)
    if len(page) <= limit:
        return json_answer(rows)
    kept = [field for field in asked.target.partition("?")[2].split("&") if field and not field.startswith("cursor=")]
    cursor = quote(base64.b64encode(json.dumps({"path": page[limit - 1]}).encode()).decode(), safe="")
    link = f"{endpoint}{asked.target.partition('?')[0]}?{'&'.join([*kept, f'cursor={cursor}'])}"
    return json_answer(rows, headers={"Link": f'<{link}>; rel="next"'})


def paths_info(state: HubState, repo: Repository, asked: Asked) -> Answer:
    """Rows of the named paths; those that do not exist are left out. Refuses (400) a body without `paths`."""
    paths, expand = _form(asked) if _is_form(asked) else _document(asked)
    known = {*repo.files, *_directories(repo.files)}
    wanted = [path for path in dict.fromkeys(paths) if path in known]
    return json_answer(path_rows(state, repo, wanted, expand=expand))


def path_rows(state: HubState, repo: Repository, paths: list[str], *, expand: bool) -> list[Row]:
    """Files and directories with their git object ids; a file in LFS shows its own size and sha256 too."""
    trees = state.hashes.trees(repo.files) if any(path not in repo.files for path in paths) else {}
    rows = [_file_row(state, repo.files[path]) if path in repo.files else _folder_row(path, trees) for path in paths]
    if expand:
        last = {"id": state.sha(repo), "title": "Upload folder", "date": repo.last_modified}
        rows = [{**row, "lastCommit": last} for row in rows]
    return rows


def _folder_row(path: str, trees: Mapping[str, str]) -> Row:
    return {"type": "directory", "oid": trees[path], "size": 0, "path": path}


def _file_row(state: HubState, entry: FileEntry) -> Row:
    content = state.hashes.of(entry)
    row: Row = {"type": "file", "oid": content.oid, "size": entry.size, "path": entry.path}
    if content.sha256 is not None:
        row["lfs"] = {"oid": content.sha256, "size": entry.size, "pointerSize": len(content.pointer)}
    return row


def entry_missing(where: Endpoint, sha: str, path: str) -> Exception:
    """404 of a path that the revision does not hold. It names the commit, so that a client can remember the absence."""
    headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
    message = "Entry not found" if where.is_file else f'{path} does not exist on "{where.revision}"'
    return text_refusal(404, message, code="EntryNotFound", headers=headers)


def _directories(paths: Iterable[str]) -> set[str]:
    """All directories above the given files."""
    found = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            found.add(path)
    return found


def _paths_below(files: Iterable[str], directory: str, *, recursive: bool) -> list[str]:
    prefix = f"{directory}/" if directory else ""
    below = [path for path in {*files, *_directories(files)} if path.startswith(prefix)]
    return sorted(path for path in below if recursive or "/" not in path[len(prefix) :])


def _limit(text: str, cap: int) -> int:
    if not text:
        return cap
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= cap):  # noqa: PLR2004
        raise bad_request("Invalid limit for index tree pagination")
    return int(text)


def _after(cursor: str) -> str:
    try:
        path = json.loads(base64.b64decode(cursor, validate=True))["path"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise bad_request("Invalid cursor") from error
    if not isinstance(path, str):
        raise bad_request("Invalid cursor")
    return path


def _is_form(asked: Asked) -> bool:
    return asked.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")


def _form(asked: Asked) -> tuple[list[str], bool]:
    fields = form_fields(asked.body.decode("utf-8", "replace"))
    if "paths" not in fields:
        raise bad_request("Invalid input: paths is missing")
    return fields["paths"], flag(fields, "expand")


def _document(asked: Asked) -> tuple[list[str], bool]:
    try:
        document = json.loads(asked.body)
        paths, expand = document["paths"], document.get("expand", False)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise bad_request("Invalid input: paths is missing") from error
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise bad_request("Invalid input: paths must be a list of strings")
    return paths, expand is True
