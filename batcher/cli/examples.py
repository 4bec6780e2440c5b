"""The example with which each command's `--help` begins: the way in which it is used most.

Rule: each can be typed as it stands, where a job.yaml lies.
"""

from __future__ import annotations

import inspect

import click

EXAMPLES = {
    "init": "batcher init sd1.5-img2img photos",
    "run": "batcher run job.yaml --sandbox --limit 3",
    "plan": "batcher plan job.yaml",
    "validate": "batcher validate job.yaml",
    "demo": "batcher demo",
    "status": "batcher status job.yaml",
    "jobs": "batcher jobs",
    "retry": "batcher retry job.yaml --only 'cat-*'",
    "ack": 'batcher ack job.yaml --reason "blurred sources"',
    "verify": "batcher verify job.yaml --repair",
    "reject": 'batcher reject job.yaml cat-winter --reason "two tails"',
    "keep": "batcher keep job.yaml cat-winter",
    "review": "batcher review job.yaml --open",
    "report": "batcher report job.yaml --open",
    "watch": "batcher watch job.yaml --open",
    "export": "batcher export job.yaml --to imagefolder -o dataset",
    "merge": "batcher merge out/job/shard-1-of-2 out/job/shard-2-of-2 -o out/whole",
    "audit": "batcher audit job.yaml",
    "pause": "batcher pause job.yaml",
    "resume": "batcher resume job.yaml",
    "set": "batcher set job.yaml limits.rpm=120",
    "models": "batcher models sd1.5-img2img",
    "schema": "batcher schema > batcher.schema.json",
    "sandbox": "batcher sandbox --port 8000",
}


def with_example(name: str, command: click.Command) -> click.Command:
    """The command, whose help begins with its example; its sentence in the list of commands stays."""
    example = EXAMPLES.get(name)
    if example is not None and f"$ {example}" not in (command.help or ""):
        command.short_help = command.get_short_help_str(200)
        # Click folds no paragraph that begins with \b.
        command.help = f"\b\n$ {example}\n\n{inspect.cleandoc(command.help or '')}"
    return command
