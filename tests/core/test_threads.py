import threading

import pytest
import torch

from fcn.threads import for_each_photo, one_thread_each


def test_each_photo_is_worked_on_once_and_the_results_are_in_order():
    batch, seen = torch.arange(20), []
    both_at_work = threading.Barrier(2, timeout=30)

    def double(photo, other):
        seen.append(threading.get_ident())
        if len(seen) <= 2:
            both_at_work.wait()
        return photo + other

    found = for_each_photo(double, batch, batch, threads=2)
    assert torch.equal(torch.stack(found), 2 * batch)
    assert len(seen) == 20
    assert len(set(seen)) == 2
    assert threading.get_ident() in seen


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_any_photo_is_raised(threads):
    def fail(photo):
        if photo == 2:
            raise IndexError("photo 2")
        return photo

    with pytest.raises(IndexError, match="photo 2"):
        for_each_photo(fail, torch.arange(4), threads=threads)


def test_the_number_of_threads_returns_also_after_an_error():
    before = torch.get_num_threads()

    def fail():
        with one_thread_each() as threads:
            assert (threads, torch.get_num_threads()) == (before, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before
