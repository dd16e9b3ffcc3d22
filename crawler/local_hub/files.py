"""The file routes of the Hub: `resolve`, `resolve-cache` and `raw`.

A file in LFS is redirected (302) to the CDN by a signed URL; a small one (307) to `resolve-cache` on the same origin,
which answers it directly, as `resolve` itself does where no shared cache may hold it: gated, private or empty.
"""

import gzip
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from crawler.local_hub.access import commit
from crawler.local_hub.answers import Answer, FileSlice, redirect
from crawler.local_hub.hashing import ContentId
from crawler.local_hub.ranges import Unsatisfiable, byte_range
from crawler.local_hub.repository import FileEntry, Repository
from crawler.local_hub.requests import Asked, Endpoint, quoted_repo
from crawler.local_hub.signing import SignedUrls, disposition
from crawler.local_hub.state import HubState
from crawler.local_hub.trees import entry_missing


def file_answer(state: HubState, repo: Repository, asked: Asked, *, where: Endpoint, urls: SignedUrls) -> Answer:
    """Answer a file route of a repository whose contents the visitor may read. Refuses missing revisions and paths."""
    sha = commit(state, repo, where.revision)
    entry = repo.files.get(where.path)
    if entry is None:
        raise entry_missing(where, sha, where.path)
    content = state.hashes.of(entry)
    headers = {
        "X-Repo-Commit": sha,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(entry.path),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Access-Control-Expose-Headers": "X-Repo-Commit,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,"
        "Content-Range,X-Linked-Size,X-Linked-ETag",
    }
    if where.kind == "raw":
        return _raw(entry, content, headers, asked)
    if entry.is_lfs:
        return _to_cdn(repo, entry, content, urls=urls, headers=headers)
    if where.kind == "resolve" and not repo.gated and not repo.private and entry.size:
        return _to_cache(repo, entry, content, asked=asked, headers=headers)
    return _small_file(entry, content, headers, asked)


def _raw(entry: FileEntry, content: ContentId, headers: Mapping[str, str], asked: Asked) -> Answer:
    """Never a redirect: a file in LFS shows the text of its pointer."""
    if not entry.is_lfs:
        return _small_file(entry, content, headers, asked)
    told = {**headers, "ETag": f'"{content.oid}"', "Content-Type": "text/plain; charset=utf-8"}
    return sliced(content.pointer, asked.headers.get("Range"), told)


def _to_cdn(
    repo: Repository, entry: FileEntry, content: ContentId, *, urls: SignedUrls, headers: Mapping[str, str]
) -> Answer:
    linked = {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{content.sha256}"', "Cache-Control": "no-store"}
    return redirect(302, urls.issue(repo, entry, content), {**headers, **linked, "Vary": "Origin, Accept"})


def _to_cache(
    repo: Repository, entry: FileEntry, content: ContentId, *, asked: Asked, headers: Mapping[str, str]
) -> Answer:
    origin = quote(asked.target.partition("?")[0], safe="", errors="replace")
    path = f"{quoted_repo(repo.repo_id)}/{headers['X-Repo-Commit']}/{quote(entry.path)}"
    location = f"/api/resolve-cache/models/{path}?{origin}=&etag=%22{content.oid}%22"
    return redirect(307, location, {**headers, "X-Linked-Etag": f'"{content.oid}"'})


def _small_file(entry: FileEntry, content: ContentId, headers: Mapping[str, str], asked: Asked) -> Answer:
    """The bytes themselves. A client that accepts gzip gets the whole file compressed, whatever range it wanted."""
    etag = f'"{content.oid}"'
    told = {**headers, "ETag": etag, "Content-Type": "text/plain; charset=utf-8"}
    if etag in asked.headers.get("If-None-Match", ""):
        return Answer(304, told)
    if "gzip" in asked.headers.get("Accept-Encoding", "").lower():
        compressed = gzip.compress(entry.location.read_bytes(), compresslevel=1, mtime=0)
        weak = {**told, "ETag": f"W/{etag}", "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Answer(200, weak, compressed, chunked=True)
    whole = FileSlice(entry.location, 0, entry.size, entry.size, entry.mtime_ns)
    return sliced(whole, asked.headers.get("Range"), told)


def sliced(whole: FileSlice | bytes, wanted: str | None, headers: Mapping[str, str]) -> Answer:
    """200, 206 or 416 for the wanted range of a file; 416 comes with a body of HTML, as from the Hub's CDN."""
    size = len(whole) if isinstance(whole, bytes) else whole.size
    try:
        part = byte_range(wanted, size)
    except Unsatisfiable:
        told = {"Content-Range": f"bytes */{size}", "Content-Type": "text/html"}
        return Answer(416, told, b"<html><body><h1>416 Requested Range Not Satisfiable</h1></body></html>")
    if part is None:
        return Answer(200, headers, whole)
    begin, end = part
    told = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{size}"}
    return Answer(206, told, whole[begin:end] if isinstance(whole, bytes) else replace(whole, begin=begin, end=end))
