import threading

import pytest
import torch

from recovery.schedule import LayerShape, block_bytes, judged_bytes, plan_layer
from recovery.workers import Workers, workers_for


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_many_members_have_a_worker_for_each_of_torchs_threads_and_few_leave_one_to_the_reader():
    with workers_for(2, "cpu") as workers:
        assert (workers.count, torch.get_num_threads()) == (2, 1)
    assert torch.get_num_threads() == 3
    with workers_for(4, "cpu") as workers:
        assert (workers.count, torch.get_num_threads()) == (3, 1)
    assert torch.get_num_threads() == 3
    with workers_for(2, "cuda") as workers:
        assert (workers.count, workers.pool, torch.get_num_threads()) == (1, None, 3)


@pytest.mark.usefixtures("three_threads")
def test_threads_are_torchs_again_after_a_failure():
    with pytest.raises(KeyError), workers_for(2, "cpu"):
        raise KeyError
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_results_come_in_order_and_no_more_are_made_at_once_than_allowed(at_once: int):
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        torch.ones(2**16).sum()
        with lock:
            running -= 1
        return item**2

    with workers_for(2, "cpu") as workers:
        assert list(workers.in_order(work, range(50), at_once=at_once)) == [item**2 for item in range(50)]
    assert most <= at_once


@pytest.mark.usefixtures("three_threads")
def test_two_items_are_worked_on_at_the_same_time():
    meet = threading.Barrier(2, timeout=30)
    with workers_for(2, "cpu") as workers:
        assert len(list(workers.in_order(lambda _: meet.wait(), range(2), at_once=2))) == 2


@pytest.mark.usefixtures("three_threads")
def test_a_failure_is_raised_where_its_result_is_taken_and_nothing_is_begun_after():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return 1 // (3 - item)

    with workers_for(2, "cpu") as workers:
        results = workers.in_order(work, range(100), at_once=3)
        assert [next(results), next(results)] == [0, 0]
        with pytest.raises(ZeroDivisionError):
            list(results)
    assert max(begun) < 10


def test_without_workers_the_caller_works():
    assert list(Workers().in_order(str, range(3), at_once=4)) == ["0", "1", "2"]


def test_blocks_side_by_side_stay_within_their_share_of_the_memory():
    shape = LayerShape(2, 1, 4096, 4096, 144)
    each = block_bytes(shape)
    assert plan_layer(shape, 2**31, threads=8).blocks == 8
    assert plan_layer(shape, 4 * 3 * each, threads=8).blocks == 3
    assert plan_layer(shape, 1, threads=8).blocks == 1


def test_pairs_are_judged_side_by_side_within_their_share_of_the_memory():
    shape = LayerShape(21, 210, 768, 768, 144)
    each = judged_bytes(shape)
    assert plan_layer(shape, 2**31, threads=8).judging == 5  # batches of 42 pairs
    assert plan_layer(shape, 4 * 3 * each, threads=8).judging == 3
    assert plan_layer(shape, 1, threads=8).judging == 1
