"""plan, status, jobs and models as text for people.

Rule: plain text, laid out by `text_layout`, so that `batcher status` starts at once.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batcher.cli.echo import echo
from batcher.cli.text_layout import echo_facts, echo_rows, echo_title, folded_beside
from batcher.progress import closing_text, summary

if TYPE_CHECKING:
    from batcher.engine import Outlook
    from batcher.engine.accept import AcceptOutlook
    from batcher.engine.plan_counts import PlanCounts
    from batcher.job.catalog import Model, Parameter
    from batcher.job.catalog.provider_list import ProviderList
    from batcher.job.manifest import Limits, Manifest
    from batcher.ledger.acceptance import AcceptStatus
    from batcher.results.account_jobs import AccountJob, AccountJobs
    from batcher.results.period_left import PeriodLeft
    from batcher.results.report import Report

WHOLE_JOBS = 8
"""So many of the newest are told in full."""
MOST_GROUPS, MOST_GROUPS_IN_STATUS = 20, 10
"""Of `accept`, of which so many are shown."""
NO_PRICE = (
    "not known: this model's price is not published here. One real picture (--limit 1) shows it, or "
    "`price: 0.02` in the manifest says it (credits per image)"
)


def plan_table(outlook: Outlook, manifest: Manifest, output: str) -> None:
    """What a run would do: counts, estimate, the first tasks with their bodies."""
    axes = manifest.matrix.axes.items()
    counts = outlook.counts
    echo_title(outlook.job, manifest.model)
    echo_facts(
        {
            "tasks": f"{counts.total:,}: {_kinds(counts)}",
            **({"this run": _this_run(counts)} if counts.submits < counts.new or _is_idle(counts) else {}),
            **({"accept": _accept(outlook.accept)} if outlook.accept is not None else {}),
            **{f"axis {name}": ", ".join(_spelled(value) for value in values) for name, values in axes},
            **({} if _is_idle(counts) else {"cost": _cost(counts)}),
            **_budgets(outlook.budgets),
            **({} if _is_idle(counts) else {"calls": _calls(outlook)}),
            "limits": _limits(outlook.limits, outlook.in_flight),
            **({"set": "; ".join(outlook.set_limits)} if outlook.set_limits else {}),
            **({} if _is_idle(counts) else {"time": f"about {summary.duration(outlook.seconds)}"}),
            "output": output,
        }
    )
    if outlook.accept is not None:
        echo_groups(outlook.accept, MOST_GROUPS)
    for task in outlook.sample:
        echo()
        echo_title(task["name"], task["key"][:8])
        echo_facts({name: _spelled(value) for name, value in task["params"].items()}, indent=2)
    if counts.total > len(outlook.sample):
        echo()
        echo(f"and {counts.total - len(outlook.sample):,} more")


def _kinds(counts: PlanCounts) -> str:
    """The tasks of a plan by what a run does with them: they add up to the total."""
    others = {
        "taken over": counts.reused,
        "in flight": counts.in_flight,
        "rejected": counts.rejected,
        "failed": counts.failed,
    }
    return summary.kinds({"new": counts.new, "done": counts.done} | others)


def _cost(counts: PlanCounts) -> str:
    if counts.cost is None or counts.cost_of_all is None:
        return "none this time; that of all that is new is not known" if counts.held_by else NO_PRICE
    if counts.submits == counts.new:
        return f"about {summary.credits(counts.cost)} credits"
    cost, of_all = summary.credits(counts.cost), summary.credits(counts.cost_of_all)
    return f"about {cost} credits this time, {of_all} for all that is new"


def _is_idle(counts: PlanCounts) -> bool:
    """Whether a run would find nothing to do."""
    return not (counts.new or counts.in_flight or counts.reused)


def _this_run(counts: PlanCounts) -> str:
    if _is_idle(counts):
        again = "; `batcher retry JOB` plans what failed again" if counts.failed else ""
        return f"nothing is left to do{again}"
    why = f": {counts.held_by} leaves no money for one" if counts.held_by else ""
    return f"{counts.submits:,} of the {summary.several(counts.new, 'new task', 'new tasks')}{why}"


def _accept(accept: AcceptOutlook) -> str:
    """What is to be accepted, and what that is likely to take."""
    groups = summary.several(len(accept.groups), "group", "groups")
    whole = (
        f"{accept.rule.count:,} of each of {groups}" if accept.rule.per else f"{accept.rule.count:,} in all"
    )
    rate = f", {accept.rejections:.0%} being rejected as so far" if accept.rejections else ""
    return f"{whole}; about {summary.several(accept.tasks, 'task', 'tasks')} to submit for that{rate}"


def echo_groups(accept: AcceptStatus, most: int) -> None:
    """What each group has, and how many tasks are there for it; of many, those that lack something first."""
    echo()
    groups = accept.groups
    if len(groups) > most:
        groups = tuple(sorted(groups, key=lambda group: group.accepted >= group.count))
    columns = ("group", "accepted", "in flight", "rejected", "failed", "candidates")
    rows = (
        (
            group.name,
            f"{group.accepted:,} of {group.count:,}",
            *(f"{n:,}" for n in (group.in_flight, group.rejected, group.failed, group.waiting)),
        )
        for group in groups[:most]
    )
    echo_rows(columns, rows)
    if len(groups) > most:
        echo(f"and {len(groups) - most:,} more")


def _calls(found: Outlook) -> str:
    """How many, and how many of them the limit counts, where that is not all."""
    new, limits = found.counts.submits, found.limits
    submits = limits.rpm is not None and limits.metered != "all" and 0 < new < found.calls
    counted = summary.several(new, "submit", "submits")
    return f"about {found.calls:,}" + (f", of which the limit counts the {counted}" if submits else "")


def _limits(limits: Limits, in_flight: int) -> str:
    rate = "no rate" if limits.rpm is None else f"{limits.rpm:g} calls a minute"
    flight = f"about {in_flight:,} in flight (auto)"
    if limits.in_flight is not None:
        flight = f"at most {limits.in_flight:,} in flight"
    most = [] if limits.max_cost is None else [f"at most {limits.max_cost:g} credits"]
    # Where nothing is to be submitted there is nothing for auto to reckon with.
    told = [flight] if in_flight or limits.in_flight is not None else []
    return ", ".join([rate, *told, *most])


def status_table(report: Report, budgets: Sequence[PeriodLeft] = ()) -> None:
    """Where a job stands; `budgets` is what is left of a day and a month."""
    echo_title(report.job)
    echo_facts(
        {
            "state": _state(report),
            **({"last end": last} if (last := _last_end_of(report)) else {}),
            "tasks": f"{report.total:,}: {_counted(report.counts) or 'none'}",
            **({"left out": _left_out(report.left_out)} if report.left_out else {}),
            **({"news": news} if (news := _news(report)) else {}),
            **({"in flight": in_flight} if (in_flight := _in_flight(report)) else {}),
            **({"set": ", ".join(report.set_limits)} if report.set_limits else {}),
            **({"accept": short} if (short := _shortage(report)) else {}),
            **({"asked for": _asked_for(report)} if report.replacements else {}),
            "images": _images(report),
            "credits": ", ".join(
                f"{summary.amount(value, report.unsure.get(kind, 0))} {kind}"
                for kind, value in report.cost.items()
            ),
            **_budgets(budgets),
            "calls": _counted(report.calls) or "none",
            "output": str(report.output),
        }
    )
    if report.accept is not None:
        echo_groups(report.accept, MOST_GROUPS_IN_STATUS)
    if report.failures:
        echo()
        echo_rows(("failed", "why"), ((f"{n:,}", reason) for reason, n in report.failures.items()))
    if report.rejections:
        echo()
        echo_rows(("rejected", "why"), ((f"{n:,}", reason) for reason, n in report.rejections.items()))


def _state(report: Report) -> str:
    """In its word; a group that cannot be filled is no plain end."""
    accept = report.accept
    if accept is None or not accept.short or report.state != "finished":
        return report.state
    groups = summary.several(len(accept.groups), "group", "groups")
    return f"{report.state}, but {accept.short:,} of {groups} of `accept` cannot be filled"


def _shortage(report: Report) -> str:
    return "" if report.accept is None else report.accept.shortage(shlex.quote(str(report.output)))


def _last_end_of(report: Report) -> str:
    """As `_last_end`; empty: it goes on, or none ran yet."""
    if report.has_ended is None:
        return ""
    if not report.has_ended:
        return "without a word (killed, or the machine was)"
    return _how_it_ended(report.ended_at, report.exit_code, report.causes)


def _images(report: Report) -> str:
    rejected = report.rejected_images
    return _counted({"delivered": report.images - rejected, "rejected": rejected}, always=("delivered",))


def _budgets(budgets: Iterable[PeriodLeft]) -> dict[str, str]:
    return {f"budget of a {one.period}": one.sentence for one in budgets}


def _asked_for(report: Report) -> str:
    """Pictures that are to be made anew, and who does it."""
    who = "the run that goes on makes" if report.state == "running" else "`batcher run` makes"
    them = "it" if report.replacements == 1 else "them"
    return f"{summary.several(report.replacements, 'replacement', 'replacements')}; {who} {them}"


def _in_flight(report: Report) -> str:
    """How many may be, and what is paid for and must be fetched in time; empty: nothing is."""
    now = report.counts.get("submitting", 0) + report.counts.get("submitted", 0)
    allowed = "" if report.in_flight is None else report.in_flight.sentence(now)
    if report.record_ends_at is None:
        return allowed
    number = report.counts.get("submitted", 0)
    until = _moment(report.record_ends_at)
    records = "its record ends" if number == 1 else "the first record ends"
    paid = f"{summary.several(number, 'request is', 'requests are')} paid for, and {records} at {until}"
    return f"{allowed}; {paid}" if allowed else paid


def _news(report: Report) -> str:
    """What the last start told of for the first time, beside what was known and what a person has seen; empty
    where there is none of these."""
    if not (report.known_failures or report.acked or any(report.news.values())):
        return ""
    parts = [closing_text.news_words(report.news) or "none"]
    parts += [f"{report.known_failures:,} known before"] if report.known_failures else []
    parts += [f"{report.acked:,} acknowledged"] if report.acked else []
    return "; ".join(parts)


def _left_out(rows: int) -> str:
    return f"{summary.several(rows, 'row', 'rows')}; errors.jsonl names {'it' if rows == 1 else 'them'}"


def jobs_table(account_jobs: AccountJobs) -> None:
    """The jobs of an account, the one that ran last at the head; of several accounts, one after the other."""
    accounts = list(dict.fromkeys(job.account for job in account_jobs.jobs))
    for account in accounts:
        if len(accounts) > 1:
            echo_title("account", account)
        jobs = [job for job in account_jobs.jobs if job.account == account]
        for job in jobs[:WHOLE_JOBS]:
            done = f"{job.done:,} of {summary.several(job.total, 'task', 'tasks')} done"
            echo_title(job.job, f"{job.state}, {done}")
            echo_facts(
                {
                    "folder": f"{job.output}{' (gone from disk)' if job.gone else ''}",
                    **({"last end": last} if (last := _last_end(job)) else {}),
                    "credits": _spent(job),
                    **_budgets(job.budgets),
                },
                indent=2,
            )
        if older := jobs[WHOLE_JOBS:]:
            _job_rows(older)
    day, month = summary.credits(account_jobs.today), summary.credits(account_jobs.month)
    echo(f"together {day} credits today and {month} this month (UTC)")


def _job_rows(jobs: Sequence[AccountJob]) -> None:
    """Jobs that have not run for a while, a line each."""
    rows = (
        (
            job.job,
            job.state,
            "" if job.exit_code is None else str(job.exit_code),
            f"{job.done:,} of {job.total:,}",
            summary.credits(job.month),
            summary.credits(job.spent),
            str(job.output),
        )
        for job in jobs
    )
    echo()
    echo_rows(("job", "state", "exit", "tasks done", "this month", "in all", "folder"), rows)
    echo()


def _spent(job: AccountJob) -> str:
    today, month, of_all = (summary.credits(value) for value in (job.today, job.month, job.spent))
    return f"{today} today, {month} this month, {of_all} in all"


def _last_end(job: AccountJob) -> str:
    """When and how its last run ended; empty: it goes on."""
    if job.running:
        return "paused, its run waits" if job.state == "paused" else ""
    at = job.ended_at or job.seen_at
    if job.exit_code is None:
        return f"about {_moment(at)}, without a word (killed, or the machine was)"
    return _how_it_ended(at, job.exit_code, job.causes)


def _how_it_ended(at: float | None, exit_code: int, causes: Sequence[str]) -> str:
    end = f"exit code {exit_code}" if at is None else f"{_moment(at)}, exit code {exit_code}"
    return ": ".join([end, *(["; ".join(causes)] if causes else [])])


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def models_table(models: Iterable[Model]) -> None:
    """The catalogue, a line each."""
    rows = ((m.slug, m.api, _number(m.seconds), _number(m.price), m.title) for m in models)
    echo_rows(("model", "api", "seconds", "credits", "title"), rows)


def listed_table(listing: ProviderList, catalogued: Container[str]) -> None:
    """The models of the provider's list that the catalogue does not have."""
    others = [one for slug, one in sorted(listing.models.items()) if slug not in catalogued]
    echo(f"\nin the provider's list of {listing.as_of} too, checked as far as it tells their parameters:")
    rows = ((one.model.slug, "retired" if one.retired else "", one.model.title) for one in others)
    echo_rows(("model", "", "title"), rows)


def numbered_models_table(models: Sequence[Model]) -> None:
    """The models, each with the number by which it is chosen."""
    rows = ((str(number), m.slug, _number(m.price), m.title) for number, m in enumerate(models, 1))
    echo_rows(("", "model", "credits", "title"), rows)


def model_table(model: Model, note: str = "") -> None:
    """One model with all its parameters; `note` says what is to be known before."""
    from batcher.job.catalog import values_text

    echo_title(model.slug, model.title)
    for line in folded_beside(model.description, 0):
        echo(line)
    echo()
    echo_facts(
        {
            "api": model.api,
            "time": "not told" if model.seconds is None else f"typically {model.seconds:g} s",
            "price": _price(model),
            "page": model.source or "none",
            **({"note": note} if note else {}),
        }
    )
    echo()
    rows = (
        (
            parameter.name,
            f"{'list of ' if parameter.is_list else ''}{parameter.media or parameter.type}",
            "required" if parameter.required else _default(parameter),
            ": ".join(part for part in (parameter.description.rstrip("."), values_text(parameter)) if part),
        )
        for parameter in model.parameters.values()
    )
    echo_rows(("parameter", "type", "default", "what it is"), rows)


def _price(model: Model) -> str:
    if model.price is None:
        return "not told"
    published = ", ".join(part for part in (model.price_source, model.price_as_of) if part)
    return f"{model.price:g} credits an image{f' ({published})' if published else ''}"


def _counted(counts: Mapping[str, int], always: Sequence[str] = ()) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what in always)


def _default(parameter: Parameter) -> str:
    return "" if parameter.default is None else _spelled(parameter.default).strip('"')


def _spelled(value: Any) -> str:
    """A value as JSON and YAML spell it."""
    return json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
