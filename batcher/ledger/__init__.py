"""The SQLite ledger: every task's state, every POST, every file. The queue is here, and the truth.

The file

    schema.sql             what can be stored, and what the database itself refuses
    database.py            opened, checked
    migrations.py          how one of an older schema becomes one of the newest
    entries.py             the values that it hands out

A run's ledger

    ledger.py              Ledger, for the one run that holds the lock: its notes, plans and runs
    reads.py               its reading half
    moves.py               the moves of its tasks (compare-and-set)
    file_moves.py          what becomes of their files
    group_commit.py        many writers, one transaction, one sync of the disk
    answer_file.py         answers that the ledger could not take, beside it
    call_counter.py        how many API calls were made, written a little later
    interrupted.py         what the process before left under way

Plans

    plan_writer.py         a plan enters
    shard_plan.py          a share of a plan enters
    plan_growth.py         new files join the present plan, and what it has stays untouched
    planned_files.py       the files that a plan is made of: whether there are only new ones
    composed_files.py      what parameters that put a path together named, for the next fingerprint
    kept_plans.py          plans that were looked at, for the first run to take over
    plan_caches.py         what one planning has seen
    plan_sample.py         which tasks of a plan a sample is
    plan_models.py         which model made a task's picture
    prompt_templates.py    the templates of its prompts
    label_categories.py    the classes of its objects
    mask_outside.py        what its masks say beside their source
    retry_failed.py        failed and held tasks are planned again

Pictures that are looked at

    check_verdicts.py      what the checks said of each picture
    rejections.py          delivered pictures are set aside, and taken back
    reviews.py             what a person has looked at
    acceptance.py          what the groups of `accept` have, and what is next in each
    plan_replacements.py   what takes the place of rejected pictures
    replacement_cells.py   which cells of a plan are due for one
    repairs.py             what `batcher verify` asks and corrects
    adoption.py            a billed job whose answer was lost becomes its task's result

Labels

    placements.py          where a source lies in its picture, and its boxes there
    source_facts.py        what is kept of source pictures, for that
    relabelling.py         delivered pictures whose labels a plan changes
    corrected_labels.py    label files that were corrected after that

For readers, also beside a run

    totals.py              what the ledger adds up to
    spending.py            the same by day, for the budgets of a day and a month
    records.py             the lines of metadata.jsonl and errors.jsonl
    stale_records.py       whether these tell of the last decision
    last_run.py            how the last run ended
    notices.py             what is news, and what a person has seen of it
    in_flight_note.py      how many tasks may be in flight
    controls.py            what a person asks of the job's runs: pause, resume, set

Other ledgers, and the account

    merge_rows.py          ledgers of shares come together
    other_ledgers.py       what those of other folders have paid for
    reusable_results.py    results in other ledgers that a task may take over
    account_file.py        the file of an account: its jobs, who runs, and what each spent by day
    account_schema.py      that file itself: made, and what is wrong with it
    account_view.py        what it says, for whoever only reads
    account_settlement.py  what a run that is not heard of any more has spent and left

This file imports nothing: `batcher status` reads totals and must start at once.
"""
