"""A Ray cluster of a head and nodes, in a process of its own.

    python nodes.py 2 2      two nodes of two workers each

It prints {"address": ..., "nodes": [raylet pids]}. For each line on stdin it starts one more node and prints
its raylet's pid; it ends when stdin does. A node that does not answer is dead after about six seconds.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ray.cluster_utils import Cluster

HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 5,
}
MEMORY = 100 << 20


def one_more(cluster: Any) -> int:
    """A new node: the pid of its raylet, whose children its workers are."""
    node = cluster.add_node(num_cpus=int(sys.argv[2]), object_store_memory=MEMORY)
    (found,) = node.all_processes["raylet"]
    return int(found.process.pid)


def main() -> None:
    head = {
        "num_cpus": 0,
        "include_dashboard": False,
        "_system_config": HEALTH,
        "object_store_memory": MEMORY,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [one_more(cluster) for _ in range(int(sys.argv[1]))]
        print(json.dumps({"address": cluster.address, "nodes": nodes}), flush=True)
        for _ in sys.stdin:
            print(one_more(cluster), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
