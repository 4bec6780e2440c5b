"""The words of a run: figures, and the sentences that end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import errors
from batcher.progress import Finished, closing_text, summary
from batcher.progress.closing_text import Tone
from batcher.task import State
from tests.support.scenes import COMMAND, MIDDLE, counts, ended


def told(finished: Finished, *, command: str = COMMAND, output: str = "out/streets") -> str:
    return "\n".join(
        f"{line.label}|{line.text}" for line in closing_text.closing(finished, command=command, output=output)
    )


def commands(finished: Finished, *, command: str = COMMAND) -> list[str]:
    """The commands that are offered, in their order."""
    lines = closing_text.closing(finished, command=command)
    return [line.text for line in lines if line.tone is Tone.VERBATIM and line.text.startswith("batcher")]


def test_a_run_that_did_everything_says_so_and_asks_for_nothing() -> None:
    text = told(ended(0))
    assert text.startswith("|streets: all done, 1,000 tasks, after 17 min 43 s\n")
    assert "tasks|1,000 done; 1,000 images delivered" in text
    assert "money|25.00 credits spent, 0.025 an image" in text
    assert "images|out/streets/images" in text
    assert commands(ended(0)) == []


def test_a_run_that_found_everything_done_says_so_and_has_no_pace() -> None:
    text = told(ended(0, delivered=0, elapsed=0.1))
    assert text.startswith("|streets: nothing new, 1,000 tasks are done, after 0.1 s\n")
    assert "pace" not in text


def test_the_pace_at_the_end_is_that_of_the_whole_run() -> None:
    assert "pace|20.0 images/min" in told(ended(0, elapsed=3000.0, images_per_minute=0.2))


def test_the_slowest_tasks_and_what_is_left_in_the_account_are_told() -> None:
    account = {"opening": 100.0, "spent": 25.0, "closing": 75.0, "difference": 0.0}
    finished = replace(ended(0), slowest={"rome-winter": 41.2, "rome-summer": 8.04}, balance=account)
    text = told(finished)
    assert "slowest|rome-winter (41 s), rome-summer (8.0 s)" in text
    assert "|75.00 credits left in the account" in text
    assert "slowest" not in told(ended(0))


def test_a_run_that_was_limited_offers_the_same_command() -> None:
    finished = ended(0, counts=counts(done=100, planned=900), images=100)
    assert "100 of 1,000 tasks done, as many as were asked for this time" in told(finished)
    assert commands(finished) == [COMMAND]


def test_an_empty_plan_is_nothing_to_do() -> None:
    assert "nothing to do" in told(ended(0, total=0, counts=counts(), images=0))


def test_failures_are_told_by_reason_with_the_command_that_tries_them_again() -> None:
    finished = ended(3, counts=counts(done=992, failed=8), images=992, failures=MIDDLE.failures)
    text = told(finished)
    assert "finished with failures, 992 of 1,000 tasks done" in text
    assert "exit|code 3\n" in text
    assert "failed|5 x FAILED: CUDA out of memory\n|1 x FAILED: the prompt" in text
    assert "details|out/streets/errors.jsonl" in text
    assert "the 8 failed tasks" in text
    assert commands(finished) == [f"{COMMAND} --retry-failed"]


def test_a_retry_that_failed_again_does_not_repeat_its_flag() -> None:
    finished = ended(3, counts=counts(done=999, failed=1), failures={"FAILED: x": 1})
    assert commands(finished, command=f"{COMMAND} --retry-failed -y") == [f"{COMMAND} -y --retry-failed"]


def test_held_requests_are_not_called_failures() -> None:
    finished = ended(3, counts=counts(done=990, doubtful=10), images=990)
    text = told(finished)
    assert "some requests are held" in text
    assert "the answers to 10 requests were lost: perhaps paid, and not sent again unless you say so" in text
    assert "`batcher retry JOB --doubtful`" in text
    assert "failures" not in text
    assert commands(finished) == [COMMAND]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.BudgetSpent("max_cost of 10 credits leaves no room"), "raise max_cost; then"),
        (errors.OutOfCredits("Insufficient credits"), "top up your credits"),
        (errors.BadKey("Invalid API key"), "put a valid key into SEGMIND_API_KEY"),
        (errors.Forbidden("not for this account"), "ask the provider"),
        (errors.WrongEndpoint("the API redirects its calls"), "mend the way to the API"),
        (errors.ModelGone("no such model"), "`batcher models`"),
        (errors.ApiDown("nothing came through for 10 minutes"), "wait until the API is back"),
    ],
)
def test_a_stop_says_why_and_what_to_do_before_the_same_command(
    error: errors.FatalForRun, remedy: str
) -> None:
    finished = ended(
        error.exit_code,
        error.reason,
        remedies=(error.remedy,),
        counts=counts(done=400, planned=600),
        images=400,
    )
    text = told(finished)
    assert f"why|{error.reason}" in text
    assert remedy in text
    assert "the same command goes on with them, and nothing is paid twice:" in text
    assert commands(finished) == [COMMAND]


def test_where_only_the_exit_code_is_known_both_ways_to_more_money_are_told() -> None:
    finished = ended(4, "the money is over", counts=counts(done=400, planned=600), images=400)
    assert "raise max_cost or top up your credits or raise the spend limit; then the same" in told(finished)


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (1, "stopped by an internal error"),
        (4, "stopped by the budget"),
        (5, "stopped, running again may help"),
        (10, "stopped, its time is over"),
        (130, "interrupted"),
        (143, "terminated"),
    ],
)
def test_every_exit_code_has_its_headline(exit_code: int, words: str) -> None:
    headline = closing_text.closing(
        ended(exit_code, counts=counts(done=1, planned=999), images=1), command=COMMAND
    )[0]
    assert headline.text == f"streets: {words}, 1 of 1,000 tasks done, after 17 min 43 s"
    assert headline.tone in (Tone.CAUTION, Tone.BAD)


def test_what_was_left_in_flight_is_told_with_its_hour() -> None:
    text = told(ended(130, "SIGINT", counts=counts(done=952, submitted=48), images=952))
    assert "48 requests are in flight and will be billed: go on within the hour" in text


def test_what_was_perhaps_paid_is_not_said_to_be_paid_once() -> None:
    text = told(ended(143, "SIGTERM", counts=counts(done=900, planned=96, doubtful=4), images=900))
    assert "100 tasks are left: " in text
    assert "says what becomes of 4 requests that were perhaps paid already" in text
    assert "nothing is paid twice" not in text


def test_paid_files_that_wait_are_told_with_their_days() -> None:
    text = told(ended(5, counts=counts(done=999, ready=1), images=999))
    assert "The files of 1 paid result wait for 7 days" in text


def test_paid_files_that_are_gone_are_told_with_the_command_that_pays_again() -> None:
    finished = replace(ended(5, counts=counts(done=998, ready=2), images=998), results_gone=2)
    text = told(finished)
    assert "finished, some paid files are gone" in text
    assert "running again" not in text
    assert "the same command" not in text
    assert "the files of 2 paid results are gone, and no run brings them back" in text
    assert commands(finished) == ["batcher verify JOB --repair --repay"]


def test_paid_files_that_are_gone_beside_others_that_wait_are_told_apart() -> None:
    finished = replace(ended(5, counts=counts(done=996, ready=4), images=996), results_gone=1)
    text = told(finished)
    assert "goes on with them, and nothing is paid twice. The files of 3 paid results wait" in text
    assert "the file of 1 paid result is gone" in text
    assert commands(finished) == [COMMAND, "batcher verify JOB --repair --repay"]


def test_the_hints_name_the_job_as_a_command_line_takes_it() -> None:
    finished = replace(ended(3, counts=counts(done=997, failed=1, doubtful=2)), known_failures=1)
    lines = closing_text.closing(finished, command=COMMAND, job="'my job.yaml'")
    text = " ".join(line.text for line in lines)
    for command in ("ack 'my job.yaml'", "audit 'my job.yaml'", "retry 'my job.yaml' --doubtful"):
        assert f"`batcher {command}`" in text


def test_work_left_and_failures_have_a_command_each() -> None:
    finished = ended(10, counts=counts(done=500, failed=2, planned=498), failures={"FAILED: x": 2})
    assert commands(finished) == [COMMAND, f"{COMMAND} --retry-failed"]


def test_all_kinds_of_money_are_told_apart() -> None:
    cost = {"spent": 24.8, "reserved": 0.2, "doubtful": 0.05, "lost": 0.025}
    text = told(ended(5, cost=cost, counts=counts(done=992, planned=8)))
    assert "24.80 credits spent" in text
    assert "0.05 credits perhaps paid besides" in text
    assert "0.025 credits lost" in text
    assert "0.20 credits reserved" in text


def test_where_no_price_is_known_what_may_be_gone_is_told_by_its_number() -> None:
    cost = {"spent": 0.0, "reserved": 0.0, "doubtful": 0.0, "lost": 0.0}
    finished = ended(3, cost=cost, unsure={"doubtful": 3, "lost": 1}, counts=counts(doubtful=3, failed=1))
    text = told(finished)
    assert "3 images, cost not known, perhaps paid besides" in text
    assert "1 image, cost not known, lost" in text
    assert "3 images (cost not known) doubtful" in summary.money(finished.snapshot)


@given(st.fixed_dictionaries({state: st.integers(0, 10**6) for state in State}))
def test_stages_add_up_to_the_total(numbers: Mapping[State, int]) -> None:
    snapshot = replace(MIDDLE, total=sum(numbers.values()), counts=numbers)
    assert sum(summary.stages(snapshot).values()) == snapshot.total


@given(st.dictionaries(st.text(), st.integers(1, 1000)), st.integers(1, 10))
def test_reasons_leave_no_failed_task_out(failures: Mapping[str, int], most: int) -> None:
    found = list(summary.reasons(failures, most))
    assert sum(number for number, _ in found) == sum(failures.values())
    assert len(found) <= most + 1


def test_a_hundred_percent_is_said_only_at_the_end() -> None:
    almost = replace(MIDDLE, total=1_000_000, counts=counts(done=999_999, planned=1))
    assert summary.share(almost) == "99 %"
    assert summary.share(replace(almost, counts=counts(done=999_999, failed=1))) == "100 %"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0.00"),
        (0.000001, "0.000001"),
        (0.00042, "0.00042"),
        (0.025, "0.025"),
        (0.06378, "0.0638"),
        (0.6, "0.60"),
        (0.9996, "1.00"),
        (15.2, "15.20"),
        (12345.678, "12,345.68"),
    ],
)
def test_credits_have_sensible_digits(amount: float, text: str) -> None:
    assert summary.credits(amount) == text


@given(st.floats(0, 1e9))
def test_credits_are_never_far_from_the_amount(amount: float) -> None:
    assert float(summary.credits(amount).replace(",", "")) == pytest.approx(amount, rel=0.01, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (None, None, "not known yet"),
        (0.0, float("inf"), "not known yet"),
        (40.0, 55.0, "40 to 55 s"),
        (330.0, 425.0, "6 to 7 min"),
        (301.0, 310.0, "about 5 min"),
        (4000.0, 5600.0, "1.1 to 1.6 h"),
    ],
)
def test_the_remaining_time_has_its_spread(low: float | None, high: float | None, text: str) -> None:
    assert summary.left(replace(MIDDLE, eta_low=low, eta_high=high)) == text


@pytest.mark.parametrize(
    ("rate", "told_rate", "text"),
    [
        (60.0, 60.0, "limit 60 a minute"),
        (44.62, 60.0, "limit 44.6 a minute (the manifest says 60)"),
        (44.62, None, "limit 44.6 a minute"),
        (None, None, "no limit"),
    ],
)
def test_the_pace_names_the_limit_and_where_it_differs_from_the_told_one(
    rate: float | None, told_rate: float | None, text: str
) -> None:
    assert text in summary.pace(replace(MIDDLE, rate=rate, rpm_configured=told_rate))


def test_what_a_run_is_at_goes_from_stopping_to_waiting_to_working() -> None:
    assert summary.activity(replace(MIDDLE, stopping="interrupted")) == "stopping: interrupted"
    assert summary.activity(MIDDLE) == MIDDLE.waiting
    idle = replace(MIDDLE, waiting="")
    assert summary.activity(idle) == "submitting"
    assert "waiting for results" in summary.activity(replace(idle, counts=counts(submitted=3)))
    assert "files" in summary.activity(replace(idle, counts=counts(ready=3)))


@pytest.mark.parametrize(
    ("seconds", "clock", "duration"),
    [
        (4.26, "0:04", "4.3 s"),
        (41.9, "0:41", "41 s"),
        (725.0, "12:05", "12 min 5 s"),
        (11_525.0, "3:12:05", "3 h 12 min"),
    ],
)
def test_times_read_as_on_a_clock_and_in_a_sentence(seconds: float, clock: str, duration: str) -> None:
    assert summary.clock(seconds) == clock
    assert summary.duration(seconds) == duration


def test_after_a_limit_the_next_command_has_none() -> None:
    finished = ended(0, counts=counts(done=3, planned=87), images=3, total=90)
    lines = closing_text.closing(finished, command="batcher run a.yaml --limit 3 -y")
    assert lines[-1].text == "batcher run a.yaml -y"
    assert "87 tasks are left: the same command without --limit goes on with them" in lines[-2].text
    stopped = ended(130, "SIGINT", counts=counts(done=2, planned=88), images=2, total=90)
    assert (
        closing_text.closing(stopped, command="batcher run a.yaml --limit=3")[-1].text
        == "batcher run a.yaml --limit=3"
    )
    sampled = closing_text.closing(finished, command="batcher run a.yaml --sample 3 -y")
    assert sampled[-1].text == "batcher run a.yaml -y"
    assert "the same command without --sample goes on with them" in sampled[-2].text


def test_where_something_is_to_be_done_first_running_again_is_not_said_to_help() -> None:
    finished = ended(5, "KEY: Unauthorized", remedies=("put a valid key into SEGMIND_API_KEY",))
    assert "stopped, there is something to do first" in told(finished)


def test_a_name_with_a_comma_stays_one_fact() -> None:
    finished = replace(ended(0), slowest={"a, b": 2.0, "c": 1.0})
    (line,) = (line for line in closing_text.closing(finished, command="x") if line.label == "slowest")
    assert line.facts == ("a, b (2.0 s)", "c (1.0 s)")


def test_candidates_that_no_group_needs_are_told_and_not_left_to_do() -> None:
    finished = replace(ended(0, counts=counts(done=4, planned=996), images=4), not_needed=996)
    lines = closing_text.closing(finished, command="batcher run a.yaml")
    assert "all that `accept` asks for, 4 of 1,000 tasks done" in lines[0].text
    assert "996 candidates are not needed, and not paid for" in [line.text for line in lines]
    assert "next" not in {line.label for line in lines}


def test_groups_that_could_not_be_filled_are_no_rows_that_were_left_out() -> None:
    finished = ended(3, counts=counts(done=990, rejected=10), images=1000)
    (headline, *_) = closing_text.closing(finished, command="batcher run a.yaml")
    assert (
        "finished, fewer pictures are accepted than were asked for, 990 of 1,000 tasks done" in headline.text
    )


def test_what_is_rejected_is_not_told_as_delivered() -> None:
    finished = replace(ended(0, counts=counts(done=8, rejected=4), total=12, images=12), rejected_images=4)
    text = told(finished)
    assert "tasks|8 done, 4 rejected; 8 images delivered, 4 rejected" in text
    assert "images|out/streets/images" in text
    none = replace(ended(0, counts=counts(rejected=4), total=4, images=4), rejected_images=4)
    assert "0 images delivered, 4 rejected" in told(none)
    assert "images|" not in told(none)


def test_a_rehearsal_speaks_of_no_money_that_is_gone() -> None:
    account = {"opening": 1000.0, "spent": 25.0, "closing": 975.0, "difference": 0.0}
    finished = replace(ended(0), is_rehearsal=True, balance=account)
    assert "money|25.00 credits in the sandbox, 0.025 an image; nothing was paid for\n" in told(finished)
    assert "left in the account" not in told(finished)
    left = replace(ended(130, "SIGINT", counts=counts(done=952, submitted=48), images=952), is_rehearsal=True)
    assert "48 requests are in flight and will be made again: the sandbox ends with its run" in told(left)
    assert "billed" not in told(left)
    assert "billed" not in closing_text.cancelled(counts(submitted=3), is_rehearsal=True)


def test_a_limited_run_with_rows_left_out_is_not_finished_and_goes_on_without_its_limit() -> None:
    finished = replace(
        ended(3, counts=counts(done=3, planned=55), total=58, images=3), left_out=1, news={"left_out": 1}
    )
    text = told(finished, command=f"{COMMAND} --limit 3")
    assert "3 of 58 tasks done, as many as were asked for this time; some rows are left out" in text
    assert "the same command without --limit goes on" in text
    assert commands(finished, command=f"{COMMAND} --limit 3") == [COMMAND]


def test_what_is_left_out_is_taken_in_by_the_same_command_once_it_is_mended() -> None:
    finished = replace(ended(3), left_out=1, news={"left_out": 1})
    assert "once what is left out can be used, the same command takes it in:" in told(finished)
    assert commands(finished) == [COMMAND]
    assert commands(replace(ended(3), left_out=1, known_failures=1)) == []
