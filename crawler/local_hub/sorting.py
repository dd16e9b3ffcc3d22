"""The order of a listing and its cursors, which are predicates on the live state and hold no page number.

A cursor is the base64 of a JSON predicate in MongoDB's words. Sorted by creation it speaks of `_id` alone, whose first
bytes are the time of creation, so that no row that exists all the time is ever skipped or repeated; in the other orders
a row whose key changes during the walk can be.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from crawler.local_hub.answers import bad_request

SORT_KEYS = ("createdAt", "lastModified", "downloads", "likes", "trendingScore")
_HUB_ID = re.compile(r"[0-9a-f]{24}")
_CURSOR_MAX_CHARACTERS = 2000

SortValue = int | str


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a row stands: the value of its sort key ("" when sorted by creation) and its identity."""

    value: SortValue
    hub_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """A sort key and its direction. Rows of equal value follow in ascending `_id`."""

    key: str = "trendingScore"
    descending: bool = True

    def arrange(self, positions: list[Position]) -> list[Position]:
        """Positions in this order; Python's sort keeps equal values in their order of `_id`, reversed or not."""
        if self.key == "createdAt":
            return sorted(positions, key=lambda row: row.hub_id, reverse=self.descending)
        by_id = sorted(positions, key=lambda row: row.hub_id)
        return sorted(by_id, key=lambda row: row.value, reverse=self.descending)

    def is_after(self, row: Position, mark: Position) -> bool:
        """Whether `row` stands behind `mark`, both as they are now."""
        if self.key == "createdAt":
            return row.hub_id < mark.hub_id if self.descending else row.hub_id > mark.hub_id
        if row.value == mark.value:
            return row.hub_id > mark.hub_id
        return self.arrange([row, mark])[0] == mark

    def cursor(self, mark: Position) -> str:
        """The cursor of all rows after `mark`."""
        return base64.b64encode(json.dumps(self._predicate(mark), separators=(",", ":")).encode()).decode()

    def mark(self, cursor: str) -> Position:
        """The position a cursor of this order continues after. Refuses (400) anything `cursor` cannot have written."""
        try:
            predicate = json.loads(base64.b64decode(cursor[:_CURSOR_MAX_CHARACTERS], validate=True))
            mark = self._read(predicate)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration) as error:
            raise bad_request("Invalid cursor") from error
        if not _HUB_ID.fullmatch(mark.hub_id) or self._predicate(mark) != predicate:
            raise bad_request("Invalid cursor")
        return mark

    def _predicate(self, mark: Position) -> dict[str, Any]:
        beyond = "$lt" if self.descending else "$gt"
        if self.key == "createdAt":
            return {"_id": {beyond: mark.hub_id}}
        ties = {self.key: mark.value, "_id": {"$gt": mark.hub_id}}
        nulls = [{self.key: None}] if self.descending else []  # MongoDB puts missing values below all others
        return {"$or": [ties, {self.key: {beyond: mark.value}}, *nulls]}

    def _read(self, predicate: Any) -> Position:  # noqa: ANN401 - any JSON a client may send
        if self.key == "createdAt":
            hub_id, value = next(iter(predicate["_id"].values())), ""
        else:
            ties = predicate["$or"][0]
            hub_id, value = ties["_id"]["$gt"], ties[self.key]
        kind = str if self.key in {"createdAt", "lastModified"} else int
        if type(value) is not kind or type(hub_id) is not str:
            raise TypeError
        return Position(value, hub_id)
