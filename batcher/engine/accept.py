"""`accept` of a manifest, as a run takes it: its rule, its columns, and what is likely to be paid for it.

Rule: what is told before is what is about to be done: tasks that no group needs cost nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batcher import errors
from batcher.job.manifest import Manifest
from batcher.ledger import acceptance
from batcher.ledger.acceptance import AcceptRule, AcceptStatus, Candidates, GroupStatus
from batcher.shard import Shard


def rule_of(manifest: Manifest) -> AcceptRule | None:
    """What the manifest asks for; None: all that is planned."""
    if manifest.accept is None:
        return None
    return AcceptRule(manifest.accept.count, tuple(manifest.accept.per), tuple(manifest.matrix.axes))


def refuse_share(manifest: Manifest, shard: Shard | None) -> None:
    """A share does not know what the others have accepted. Raises UsageError."""
    if manifest.accept is not None and shard is not None:
        raise errors.UsageError(
            "`accept` counts over the whole plan, and a share knows nothing of what others have accepted; "
            "run it without --shard, or give each share a manifest of its own groups"
        )


@dataclass(frozen=True, slots=True)
class AcceptOutlook(AcceptStatus):
    """The groups of a plan, and what they are likely to take: so many `tasks`, of `images` pictures, where
    the part `rejections` of them is rejected as before."""

    tasks: int
    images: int

    def within(self, limit: int | None) -> int:
        """Tasks of one start that is to submit at most so many."""
        return self.tasks if limit is None else min(limit, self.tasks)

    def as_json(self) -> dict[str, Any]:
        """As `plan --json` has it: `expected` in tasks, the rest as `status --json`."""
        return {"expected": self.tasks, **AcceptStatus.as_json(self)}


def accept_outlook(
    connection: sqlite3.Connection, manifest: Manifest, plan: int, own: sqlite3.Connection | None
) -> AcceptOutlook | None:
    """How the groups stand in the plan of this number; None: the manifest has no `accept`. `own` is the job's
    ledger, which knows how many were rejected so far. Raises ManifestError where it names a column that no
    task has."""
    rule = rule_of(manifest)
    if rule is None:
        return None
    rejections = 0.0 if own is None else acceptance.rejection_rate(own)
    candidates = Candidates(connection, plan, rule)
    if candidates.groups and candidates.unknown:
        name = min(candidates.unknown)
        message = f"no task has a column `{name}`"
        raise errors.ManifestError([manifest.problem(("accept", "per"), message)])
    groups = candidates.statuses()
    wanted = [group.expected(rejections, manifest.redo) for group in groups]
    images = sum(tasks * group.images for tasks, group in zip(wanted, groups, strict=True))
    return AcceptOutlook(rule, tuple(groups), rejections, sum(wanted), images)


def shortage(groups: Sequence[GroupStatus] | None, job: str) -> str:
    """What to say of groups that cannot be filled; empty: nothing."""
    return acceptance.shortage_text(groups, job) if groups else ""
