"""Parts of a problem on several threads, merged in the order of the parts.

The parts do not depend on the number of threads, and each is formed by itself and merged in its turn, so the result is
the same to the last bit however many threads there are. Threads come from Python's own pool and run compiled code that
has released the GIL: no OpenMP run-time, nothing to break across a fork. The calling thread works too, and so sees
Ctrl-C between parts.
"""

import contextlib
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import OpenBLASController, ThreadpoolController

from gaussum.validation import check_integer

# Handing work to the pool takes some 40 us; below this much work, in seconds, the calling thread stays alone.
_WORTH_A_THREAD = 200e-6
# A part should take this long at least, in seconds, so that handing it out costs little, and when there is much work
# this long at most, the delay of a Ctrl-C. In between, this many parts keep all threads busy to the end.
_SHORTEST_PART = 200e-6
_LONGEST_PART = 0.05
_ENOUGH_PARTS = 64
_PART_SAMPLES = 1024
# Parts, times the threads, that one may be ahead of the merging, and the seconds after which, waiting, it looks again.
_AHEAD = 2
_PATIENCE = 1.0

_pool = None
_pool_size = 0
_lock = threading.Lock()
_blas = None            # the controller of the BLAS libraries, found once
_blas_users = 0
_blas_limit = None


def n_parts(n_samples, seconds, *, smallest=_PART_SAMPLES):
    """The number of parts of so many samples and so much work, none much smaller than `smallest` samples."""
    enough = min(_ENOUGH_PARTS, int(seconds / _SHORTEST_PART))
    return max(1, min(n_samples // smallest, max(enough, int(seconds / _LONGEST_PART))))


def resolve_threads(n_threads, seconds=float("inf")):
    """The number of threads to use for work that would keep one busy for so many seconds.

    Parameters
    ----------
    n_threads : int or None
        None means all processors that this process may use.
    """
    limit = available_cpus() if n_threads is None else check_integer(n_threads, "n_threads", minimum=1)
    return 1 if seconds < _WORTH_A_THREAD else limit


def available_cpus():
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@contextlib.contextmanager
def single_threaded_blas():
    """A context in which BLAS keeps to the thread that calls it.

    The setting is the whole process's: of contexts that overlap, the first sets it and the last puts it back.
    """
    global _blas, _blas_users, _blas_limit
    with _lock:
        if _blas is None:
            _blas = ThreadpoolController()
        if _blas_users == 0:
            _blas_limit = _blas.limit(limits=1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _lock:
            _blas_users -= 1
            if _blas_users == 0:
                # recent versions let only the thread that set a limit lift it, until its claim is cleared
                clear = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
                clear(force=True)
                _blas_limit.restore_original_limits()
                clear(force=True)


def run(n_parts, n_threads, work, merge=None):
    """Call ``work(part, slot)`` for every part, and ``merge`` with what it returns, in the order of the parts.

    Parameters
    ----------
    n_parts : int
    n_threads : int
        Slots are numbered from 0 to `n_threads` - 1; two calls of `work` with the same slot never run at the same
        time, nor do two merges.
    work, merge : callable
        An exception in either stops all threads at their next part and is raised in the calling thread.
    """
    n_threads = min(n_threads, n_parts)
    if n_threads <= 1:
        for part in range(n_parts):
            result = work(part, 0)
            if merge is not None:
                merge(result)
        return
    turn = threading.Condition()
    parts = itertools.count()
    done = {}                   # results that wait for those before them
    state = {"merged": 0, "error": None}

    def loop(slot):
        try:
            while True:
                with turn:
                    part = next(parts)
                    while part > state["merged"] + _AHEAD * n_threads and state["error"] is None:
                        turn.wait(_PATIENCE)
                if part >= n_parts or state["error"] is not None:
                    return
                result = work(part, slot)
                with turn:
                    done[part] = result
                    while state["merged"] in done:
                        result = done.pop(state["merged"])
                        if merge is not None:
                            merge(result)
                        state["merged"] += 1
                    turn.notify_all()
        except BaseException as error:
            with turn:
                state["error"] = state["error"] or error
                turn.notify_all()

    futures = []
    try:
        futures = [_get_pool(n_threads - 1).submit(loop, slot) for slot in range(1, n_threads)]
        loop(0)
        for future in futures:
            # a helper that has not started has nothing left to do: not waiting for it keeps nested calls from locking
            if not future.cancel():
                _wait(future, state)
    finally:
        # an interrupt that came in between: nobody may wait for what will not come
        if state["merged"] < n_parts and state["error"] is None:
            state["error"] = KeyboardInterrupt()
    if state["error"] is not None:
        raise state["error"]


def _wait(future, state):
    while True:
        try:
            return future.result()
        except KeyboardInterrupt as error:
            state["error"] = state["error"] or error


def _get_pool(size):
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            # the old pool finishes what it has; its threads end when it is collected
            _pool = ThreadPoolExecutor(size, thread_name_prefix="gaussum")
            _pool_size = size
        return _pool


def _forget_pool():
    # threads do not survive a fork
    global _pool, _lock, _blas_users
    _pool, _lock, _blas_users = None, threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
