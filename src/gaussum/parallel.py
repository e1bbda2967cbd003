"""Parts of a problem on several threads, merged in the order of the parts.

The parts do not depend on the number of threads, and each is formed by itself and merged in its turn, so the result is
the same to the last bit however many threads there are. Threads come from Python's own pool and run compiled code that
has released the GIL: no OpenMP run-time, nothing to break across a fork. The calling thread works too, and so sees
Ctrl-C between parts.

Where the parts of a problem are too small to share, whole problems run side by side instead, each on a thread of its
own; the calling thread waits, takes in what they came to, and gives their warnings.
"""

import contextlib
import contextvars
import itertools
import math
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any, Generic, TypedDict, TypeVar

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
# What dividing a pass among threads costs beyond its parts, in seconds; and how much better than that whole problems
# side by side have to promise to be, since they end at different times.
_DIVIDING = 100e-6
_BETTER = 1.25
# Parts, times the threads, that one may be ahead of the merging, and the seconds after which, waiting, it looks again.
_AHEAD = 2
_PATIENCE = 1.0

# What a task or a part comes to.
_Result = TypeVar("_Result")

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()
_blas: Any = None       # the controller of the BLAS libraries, found once
_blas_users = 0
_blas_limit: Any = None
_task = threading.local()       # of the task that this thread works on: `stop`, if side by side, and `warnings`


def n_parts(n_samples: int, seconds: float, *, smallest: int = _PART_SAMPLES) -> int:
    """The number of parts of so many samples and so much work, none much smaller than `smallest` samples."""
    enough = min(_ENOUGH_PARTS, int(seconds / _SHORTEST_PART))
    return max(1, min(n_samples // smallest, max(enough, int(seconds / _LONGEST_PART))))


def resolve_threads(n_threads: int | None, seconds: float = float("inf")) -> int:
    """The number of threads to use for work that would keep one busy for so many seconds.

    Parameters
    ----------
    n_threads : int or None
        None means all processors that this process may use. A task that runs side by side with others has one.
    """
    if n_threads is not None:
        n_threads = check_integer(n_threads, "n_threads", minimum=1)
    if seconds < _WORTH_A_THREAD or _is_beside():
        return 1
    return n_threads or available_cpus()


def threads_beside(n_tasks: int, n_samples: int, seconds: float, n_threads: int | None) -> int:
    """The threads on which to run so many alike problems side by side; 1 if they had better share the threads in turn.

    Parameters
    ----------
    n_tasks : int
    n_samples : int
    seconds : float
        The time of one pass over the samples.
    n_threads : int or None
    """
    limit = resolve_threads(n_threads)
    shared = min(limit, n_parts(n_samples, seconds))
    gain_shared = seconds / (seconds / shared + _DIVIDING) if shared > 1 else 1.0
    gain_beside = n_tasks / math.ceil(n_tasks / limit)
    return min(limit, n_tasks) if gain_beside > _BETTER * gain_shared else 1


def available_cpus() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
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


class _State(TypedDict):
    """How far `run` has come, on all its threads."""

    merged: int
    error: BaseException | None


def run(
    n_parts: int, n_threads: int, work: Callable[[int, int], _Result],
    merge: Callable[[_Result], object] | None = None,
) -> None:
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
    done: dict[int, _Result] = {}       # results that wait for those before them
    state: _State = {"merged": 0, "error": None}

    def loop(slot: int) -> None:
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


class Stopped(BaseException):
    """The calling thread has given up on this task."""


class Outcome(Generic[_Result]):
    """What calling a task came to: a value or an exception, and the warnings that it gave through `warn`."""

    _value: _Result

    def __init__(
        self, task: Callable[[], _Result],
        catch: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    ) -> None:
        outer = getattr(_task, "warnings", None)
        self.warnings: list[tuple[str, type[Warning]]] = []
        self.error: BaseException | None = None
        _task.warnings = self.warnings
        try:
            self._value = task()
        except catch as error:
            self.error = error
        finally:
            _task.warnings = outer

    @property
    def ends_all(self) -> bool:
        """Whether the exception is a KeyboardInterrupt or the like."""
        return self.error is not None and not isinstance(self.error, Exception)

    def result(self) -> _Result:
        """Give the warnings, from this thread; then return the value or raise the exception."""
        for message, category in self.warnings:
            warn(message, category)
        if self.error is not None:
            raise self.error
        return self._value


def side_by_side(
    tasks: Sequence[Callable[[], _Result]], n_threads: int, receive: Callable[[int, Outcome[_Result]], object],
) -> None:
    """Call every task, each on one thread, and ``receive(index, outcome)`` as they end, in the calling thread.

    A task may itself ask for threads: it gets its own alone, so nothing waits for what waits for it. BLAS keeps to
    the thread that calls it, however many threads there are: LAPACK's factorisations call it.

    Parameters
    ----------
    tasks : sequence of callables
        Begun in this order. On one thread, or within another task, they run here, one after the other.
    n_threads : int
    receive : callable
        An exception in it, a Ctrl-C, or an exception of a task that is no Exception stops all tasks at their next
        `check`, and is raised when they have.
    """
    n_threads = min(n_threads, len(tasks))
    with single_threaded_blas():
        if n_threads <= 1 or _is_beside():
            for index, task in enumerate(tasks):
                receive(index, Outcome(task))
        else:
            _side_by_side(tasks, n_threads, receive)


def _side_by_side(
    tasks: Sequence[Callable[[], _Result]], n_threads: int, receive: Callable[[int, Outcome[_Result]], object],
) -> None:
    left, lock, stop = enumerate(tasks), threading.Lock(), threading.Event()
    ended: queue.SimpleQueue[tuple[int, Outcome[_Result]]] = queue.SimpleQueue()

    def work() -> None:
        _task.stop = stop
        try:
            while not stop.is_set():
                with lock:
                    index, task = next(left, (-1, None))
                if task is None:
                    break
                outcome = Outcome(task, catch=BaseException)
                ended.put((index, outcome))
                if outcome.ends_all:
                    stop.set()
        finally:
            _task.stop = None

    futures = []
    try:
        for _ in range(n_threads):
            # in the caller's context: NumPy keeps its error state there
            futures.append(_get_pool(n_threads).submit(contextvars.copy_context().run, work))
        for _ in tasks:
            index, outcome = _next(ended)
            if outcome.error is not None and outcome.ends_all:
                raise outcome.error
            receive(index, outcome)
    finally:
        stop.set()
        _wait_for_all(futures)


def in_order(receive: Callable[[Outcome[_Result]], object]) -> Callable[[int, Outcome[_Result]], None]:
    """A receiver for `side_by_side` that calls ``receive(outcome)`` in the order of the indices."""
    early: dict[int, Outcome[_Result]] = {}
    turn = [0]

    def hold(index: int, outcome: Outcome[_Result]) -> None:
        early[index] = outcome
        while turn[0] in early:
            turn[0] += 1
            receive(early.pop(turn[0] - 1))

    return hold


def check() -> None:
    """Raise Stopped if the calling thread has given up on the task that this thread works on."""
    stop = getattr(_task, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def warn(message: str, category: type[Warning]) -> None:
    """Give a warning that points to the first line outside of this package; within a task, keep it for its outcome."""
    kept = getattr(_task, "warnings", None)
    if kept is not None:
        kept.append((message, category))
        return
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "gaussum":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_beside() -> bool:
    return getattr(_task, "stop", None) is not None


def _next(ended: queue.SimpleQueue[_Result]) -> _Result:
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=_PATIENCE)     # where a wait cannot be interrupted, Ctrl-C is seen in between


def _wait_for_all(futures: Sequence[Future[Any]]) -> None:
    """Wait for what has begun, however often Ctrl-C is pressed; then raise it."""
    interrupt = None
    for future in futures:
        while not (future.cancel() or future.done()):
            try:
                future.exception(timeout=_PATIENCE)
            except TimeoutError:
                pass
            except KeyboardInterrupt as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt


def _wait(future: Future[_Result], state: _State) -> _Result:
    while True:
        try:
            return future.result()
        except KeyboardInterrupt as error:
            state["error"] = state["error"] or error


def _get_pool(size: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            # the old pool finishes what it has; its threads end when it is collected
            _pool = ThreadPoolExecutor(size, thread_name_prefix="gaussum")
            _pool_size = size
        return _pool


def _forget_pool() -> None:
    # threads do not survive a fork
    global _pool, _lock, _blas_users
    _pool, _lock, _blas_users = None, threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
