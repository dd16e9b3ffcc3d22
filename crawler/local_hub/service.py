"""The first listener: limits, identity, and the endpoint that a request names."""

from dataclasses import replace

from crawler.local_hub.access import Visitor, check_content, commit, find, visitor
from crawler.local_hub.answers import Answer, Refused, json_answer, refusal
from crawler.local_hub.clock import Clock
from crawler.local_hub.detail import commits, detail, refs, whoami
from crawler.local_hub.files import file_answer
from crawler.local_hub.limits import RateLimiter
from crawler.local_hub.listing import listing
from crawler.local_hub.options import HubOptions
from crawler.local_hub.repository import Repository
from crawler.local_hub.requests import Asked, Endpoint, endpoint
from crawler.local_hub.signing import SignedUrls
from crawler.local_hub.state import HubState
from crawler.local_hub.trees import paths_info, tree
from storage.errors import UsageError


class HubService:
    """Answers requests of the Hub's own listener. `answer` reads the disk and runs in worker threads."""

    def __init__(self, state: HubState, options: HubOptions, *, clock: Clock, urls: SignedUrls) -> None:
        self.endpoint = ""  # http://127.0.0.1:PORT, set once the listener is bound
        self._state = state
        self._options = options
        self._urls = urls
        self._limiter = RateLimiter(options, clock)

    def answer(self, asked: Asked) -> Answer:
        """The answer to any request, with the two rate limit headers; it raises nothing."""
        where = endpoint(asked.target)
        try:
            who, refused = visitor(asked, self._options.tokens), None
        except Refused as refusal_:
            who, refused = Visitor(asked.peer), refusal_.answer
        charge = self._limiter.charge(who.key, where.bucket)
        if not charge.allowed:
            answer = refusal(429, "Too many requests: wait until the window ends").answer
        else:
            answer = refused or self._guarded(who, asked, where)
        return replace(answer, headers={**answer.headers, **charge.headers})

    def _guarded(self, who: Visitor, asked: Asked, where: Endpoint) -> Answer:
        try:
            return self._route(who, asked, where)
        except Refused as refused:
            return refused.answer
        except UsageError as error:  # hub.json was edited into something invalid: say so, loudly
            return refusal(500, str(error)).answer
        except OSError:  # a file went while being read
            return refusal(503, "Service unavailable").answer

    def _route(self, who: Visitor, asked: Asked, where: Endpoint) -> Answer:
        expected = {"POST"} if where.kind == "paths-info" else {"GET", "HEAD"}
        if where.kind == "unknown":
            raise refusal(404, "Sorry, we can't find the page you are looking for.")
        if asked.method not in expected:
            raise refusal(405, "Method not allowed", headers={"Allow": ", ".join(sorted(expected))})
        if where.kind == "whoami":
            return whoami(who)
        if where.kind == "listing":
            return listing(self._state, who, asked, options=self._options, endpoint=self.endpoint)
        repo = find(self._state, who, asked, where)
        if where.is_file or where.kind in {"commits", "auth-check"}:
            check_content(repo, who, where)
        if where.is_file:
            return file_answer(self._state, repo, asked, where=where, urls=self._urls)
        return self._about(repo, asked, where)

    def _about(self, repo: Repository, asked: Asked, where: Endpoint) -> Answer:
        if where.kind == "detail":
            return detail(self._state, repo, asked, where)
        if where.kind == "refs":
            return refs(self._state, repo)
        if where.kind == "commits":
            return commits(self._state, repo, where)
        if where.kind == "auth-check":
            return json_answer({})
        commit(self._state, repo, where.revision)
        if where.kind == "tree":
            return tree(self._state, repo, asked, where=where, endpoint=self.endpoint)
        return paths_info(self._state, repo, asked)
