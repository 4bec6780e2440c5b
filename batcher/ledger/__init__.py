"""The SQLite ledger: every task's state, every POST, every file. The queue is here, and the truth.

    schema.sql   what can be stored, and what the database itself refuses
    store.py     the file: opened, checked, migrated
    groups.py    commits in groups
    writer.py    Ledger: claim, move (compare-and-set), record; for the one run that holds the lock
    planning.py  a plan enters
    sharing.py   a share of it
    seen.py      what one planning has seen
    merging.py   ledgers of shares come together
    entries.py   the values it hands out
    totals.py    what it adds up to, also for readers beside a run
    ending.py    how the last run ended
    labels.py    where a source lies in its picture, and its boxes there
    originals.py what is kept of source pictures, for that
    records.py   the lines of metadata.jsonl and errors.jsonl

This file imports nothing: `batcher status` reads totals and must start at once.
"""
