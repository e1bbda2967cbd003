"""How far long work has come: a callback, a bar, or both."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from gaussum.validation import check_flag


@contextlib.contextmanager
def counted(
    total: int, what: str, progress: bool = False, callback: Callable[[int, int], object] | None = None,
) -> Iterator[Callable[[], None]]:
    """Count pieces of work: yields a function to call, without arguments, after each.

    Parameters
    ----------
    total : int
        Pieces of work.
    what : str
        Their name, in front of the bar.
    progress : bool
        Whether to show a bar, by tqdm: on a terminal's standard error, or in a notebook.
    callback : callable, optional
        Called as ``callback(done, total)``.

    Raises
    ------
    ImportError
        A bar is asked for, and tqdm is missing.
    """
    done = 0
    with _bar(total, what) if check_flag(progress, "progress") else contextlib.nullcontext() as bar:

        def advance() -> None:
            nonlocal done
            done += 1
            if bar is not None:
                bar.update()
            if callback is not None:
                callback(done, total)

        yield advance


def _bar(total: int, what: str) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError('progress=True needs tqdm: pip install "gaussum[progress]"') from error
    return tqdm(total=total, desc=what)
