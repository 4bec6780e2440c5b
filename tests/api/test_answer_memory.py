"""The room for answers: never more than was given out, and every answer comes to its end."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from hypothesis import given
from hypothesis import strategies as st

from batcher.api.answer_memory import AnswerMemory
from tests.support.bookkeeping import in_virtual_time

SIZE = 100
LARGEST = 150


@dataclass
class Held:
    """A count of one's own, beside that of the memory."""

    now: int = 0
    most: int = 0

    def add(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


ANSWER = st.tuples(
    st.booleans(),  # it says its size
    st.lists(st.integers(1, 50), min_size=1, max_size=4).filter(lambda parts: sum(parts) <= LARGEST),
    st.integers(0, 3),  # when it comes
    st.integers(0, 3),  # how long its bytes take to be written down
    st.sampled_from([None, None, None, 0, 1]),  # the part at which it breaks off
)


@given(st.lists(ANSWER, max_size=30))
def test_no_more_is_held_than_there_is_room_for_but_for_one_and_all_come_to_their_end(
    answers: list[tuple[bool, list[int], int, int, int | None]],
) -> None:
    memory, held, ended = AnswerMemory(SIZE), Held(), []

    async def come(says: bool, parts: list[int], at: int, written: int, breaks: int | None) -> None:
        await anyio.sleep(at)
        mine = 0
        with memory.lease() as room:
            if says:
                await room.reserve(sum(parts))
            for number, part in enumerate(parts):
                if number == breaks:
                    break
                if not says:
                    await room.reserve(part)
                held.add(part)
                mine += part
                await anyio.sleep(0.1)
            else:
                await anyio.sleep(written)
            held.add(-mine)
        ended.append(mine)

    async def all_of_them() -> None:
        with anyio.fail_after(1000):
            async with anyio.create_task_group() as tasks:
                for answer in answers:
                    tasks.start_soon(come, *answer)

    in_virtual_time(all_of_them())
    assert len(ended) == len(answers)
    assert held.now == memory.held == 0
    assert held.most <= memory.most <= SIZE + LARGEST


def test_whoever_gives_up_waiting_holds_nobody_up() -> None:
    memory = AnswerMemory(SIZE)

    async def give_up() -> None:
        with memory.lease() as first:
            await first.reserve(SIZE)
            with anyio.move_on_after(1), memory.lease() as second:
                await second.reserve(1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(begin)
                await anyio.sleep(1)
                first.release()

    async def begin() -> None:
        with memory.lease() as third:
            await third.reserve(SIZE)

    in_virtual_time(give_up())
    assert memory.held == 0
