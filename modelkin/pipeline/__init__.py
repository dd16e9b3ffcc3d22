"""The only place where I/O meets computation: each step reads what is pending, calls pure code, and commits the result.

`refresh` is crawl, index and recover in a row and then a snapshot for readers, only for what is new or touched. A step
that is stopped leaves what it committed and goes on from there.
"""

from modelkin.pipeline.plan_step import plan
from modelkin.pipeline.runs import crawl, index, recover, refresh
from modelkin.pipeline.verify import verify

__all__ = ["crawl", "index", "plan", "recover", "refresh", "verify"]
