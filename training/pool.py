"""The one seam to processes: map a function over jobs, in this process or in several.

A job must say all that its result depends on (its seeds above all), so that the results are the
same for any number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)  # more threads than cores make every worker several times slower
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def run_jobs(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 1) -> Iterator[tuple[Job, Result]]:
    """Yield (job, result) as jobs end, in any order; one worker means this very process."""
    pending = list(jobs)
    if workers <= 1 or len(pending) <= 1:
        for job in pending:
            yield job, function(job)
        return
    context = multiprocessing.get_context("spawn")  # fork and threads of torch do not mix
    executor = ProcessPoolExecutor(min(workers, len(pending)), context, _start_worker)
    try:
        futures = {executor.submit(function, job): job for job in pending}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
