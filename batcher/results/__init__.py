"""What came of it, read from the ledger; works without the engine.

report/          totals, records, and the page with its pictures
dashboard/       the live page
review/          a person's word on pictures: rejected, kept
export/          delivered pictures as a dataset
verify/          is everything there, whole and in its place; and the repair
merge.py         shares of one plan come together in one output folder
audit.py         the ledger against the provider's statement, request by request
run_control.py   what a person asks of a job's runs: pause, resume, set
account_jobs.py  the jobs of an account on this machine
period_left.py   what is left of the account's budgets of a day and a month
picture_list.py  a file in which a person names pictures
"""
