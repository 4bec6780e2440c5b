"""The SQLite ledger: every task's state, every POST, every file. The queue is here, and the truth.

    schema.sql        what can be stored, and what the database itself refuses
    database.py       the file: opened, checked
    migrations.py     how one of an older schema becomes one of the newest
    entries.py        the values that it hands out
    ledger.py         Ledger, for the one run that holds the lock: its notes, plans and runs
    reads.py          its reading half
    moves.py          the moves of its tasks (compare-and-set)
    file_moves.py     what becomes of their files
    answer_file.py    answers that it could not take, beside it
    group_commit.py   many writers, one transaction, one sync of the disk
    call_counter.py   how many API calls were made, written a little later
    interrupted.py    what the process before left under way
    plan_writer.py    a plan enters
    plan_growth.py    new files join the present plan, and what it has stays untouched
    kept_plans.py     plans that were looked at, for the first run to take over
    planned_files.py  the files that it is made of, beside it: whether there are only new ones
    plan_sample.py    which tasks of a plan a sample is
    plan_caches.py    what one planning has seen
    composed_files.py  what parameters that put a path together named, for the next fingerprint
    plan_models.py    which model made a task's picture
    prompt_templates.py  the templates of its prompts
    label_categories.py  the classes of its objects
    mask_outside.py   what its masks say beside their source
    shard_plan.py     a share of a plan enters
    merge_rows.py     ledgers of shares come together
    other_ledgers.py  what those of other folders have paid for
    reusable_results.py  results in other ledgers that a task may take over
    retry_failed.py   failed and held tasks are planned again
    check_verdicts.py  what the checks said of each picture
    rejections.py     delivered pictures are set aside, and taken back
    reviews.py        what a person has looked at
    stale_records.py  whether the records tell of the last decision
    acceptance.py     what the groups of `accept` have, and what is next in each
    plan_replacements.py  what takes the place of rejected ones
    replacement_cells.py  which cells are due for one
    adoption.py       a billed job whose answer was lost becomes its task's result
    repairs.py        what `batcher verify` asks and corrects
    totals.py         what it adds up to, also for readers beside a run
    spending.py       what it adds up to by day, for the budgets of a day and a month
    account_file.py   the file of an account: its jobs, who runs, and what each spent by day
    account_view.py   what it says, for whoever only reads
    account_settlement.py  what a run that is not heard of any more has left
    account_schema.py  that file itself: made, and what is wrong with it
    last_run.py       how the last run ended
    controls.py       what a person asks of its runs: pause, resume, set
    in_flight_note.py  how many tasks may be in flight, for those who look from outside
    notices.py        what is news, and what a person has seen of it
    records.py        the lines of metadata.jsonl and errors.jsonl
    placements.py     where a source lies in its picture, and its boxes there
    relabelling.py    delivered pictures whose labels a plan changes
    corrected_labels.py  label files that were corrected after that
    source_facts.py   what is kept of source pictures, for that

This file imports nothing: `batcher status` reads totals and must start at once.
"""
