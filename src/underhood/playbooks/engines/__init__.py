"""Who surveys the shards of an audit: this process, several, or a cluster.

An engine takes `Work`, and for each shard calls `store.write`, wherever that may be, and then `store.commit`,
in the process it was called in and nowhere else.
"""

from underhood.playbooks.engines.work import ENGINES, Run, Work, engine_of, here, threads_of

__all__ = ["ENGINES", "Run", "Work", "engine_of", "here", "threads_of"]
