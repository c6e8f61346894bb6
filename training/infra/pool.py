"""Parallel work: map a function over jobs in this process, in several processes, or on a Ray cluster.

A job must hold everything that its result depends on, such as its seeds. Then the results are the same everywhere and
for any number of workers. A worker that dies or hangs is replaced, and its jobs are done again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from training.infra.allocator import keep_freed_memory
from wm_envs.errors import InvalidOption, MissingPackage, WorkersLost

Job = TypeVar("Job")
Result = TypeVar("Result")

PATIENCE = 900.0  # seconds without a finished job after which workers count as hung
ATTEMPTS = 3  # number of times in a row that workers may be lost without a finished job


@dataclass(frozen=True)
class Workers:
    """Where jobs run: in `count` processes here (0: one per core, 1: this process), or on a Ray cluster."""

    count: int = 0
    ray: str = ""  # address of the cluster, or "local" to start one on this machine


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: Workers | None = None, patience: float = PATIENCE
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, result) as jobs end, in any order. Errors of `function` are raised here.

    Raises `WorkersLost` when workers die or hang repeatedly.
    """
    workers, pending = workers or Workers(1), list(jobs)
    count = min(workers.count or available_cores(), len(pending))
    if workers.ray:
        yield from _on_ray(function, pending, workers.ray, patience)
    elif count <= 1:
        for job in pending:
            yield job, function(job)
    else:
        yield from _in_processes(function, pending, count, patience)


# --- processes ------------------------------------------------------------------------------------------


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    keep_freed_memory()
    import torch

    torch.set_num_threads(1)  # more threads than cores make every worker several times slower
    threading.Thread(target=_follow_the_parent, daemon=True).start()


def _follow_the_parent() -> None:
    """End this worker and its games when the parent is killed; it would wait for jobs forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _in_processes(
    function: Callable[[Job], Result], jobs: list[Job], count: int, patience: float
) -> Iterator[tuple[Job, Result]]:
    left, lost = dict(enumerate(jobs)), 0
    while left:
        before = len(left)
        for number, result in _until_broken(function, left, count, patience):
            yield left.pop(number), result
        lost = lost + 1 if len(left) == before else 0
        if left and lost == ATTEMPTS:
            raise WorkersLost(
                "workers", f"workers lost {ATTEMPTS} times in a row without a finished job", "workers that stay alive",
                "check the free memory, give fewer --workers, or --workers 1 to see the error",
            )  # fmt: skip


def _until_broken(
    function: Callable[[Job], Result], jobs: dict[int, Job], count: int, patience: float
) -> Iterator[tuple[int, Result]]:
    """Results by number until all jobs are done, or a worker dies or hangs; ends all workers."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # fork and threads of torch do not mix
    executor = ProcessPoolExecutor(min(count, len(jobs)), context, _start_worker)
    futures: dict[Future[Result], int] = {}
    try:
        for number, job in jobs.items():  # a worker may die while jobs are submitted
            futures[executor.submit(function, job)] = number
        while futures:
            done, _ = wait(futures, timeout=patience, return_when=FIRST_COMPLETED)
            if not done:
                return
            for future in done:
                yield futures.pop(future), future.result()
    except BrokenProcessPool:
        return
    finally:
        manager = getattr(executor, "_executor_manager_thread", None)
        executor.shutdown(wait=False, cancel_futures=True)
        while ours := set(multiprocessing.active_children()) - others:  # the executor may be starting another one
            _end(ours, gently=not futures)
        if manager is not None:  # else Python, when it exits, may write to the pipe that this thread is closing
            manager.join(10)


def _end(processes: set[Any], gently: bool) -> None:
    """Wait for idle workers; end the others, which close their games on SIGTERM."""
    for process in processes:
        if not gently:
            process.terminate()
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


# --- Ray ------------------------------------------------------------------------------------------------


def _on_ray(
    function: Callable[[Job], Result], jobs: list[Job], address: str, patience: float
) -> Iterator[tuple[Job, Result]]:
    ray = _connected(address)
    remote = ray.remote(max_retries=ATTEMPTS, num_cpus=1)(_one_thread)  # Ray repeats the jobs of dead workers
    waiting = {remote.remote(function, job): job for job in jobs}
    hung = 0
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=patience)
            for reference in done:
                yield waiting.pop(reference), ray.get(reference)
            hung = 0 if done else hung + 1
            if hung == ATTEMPTS:
                raise WorkersLost(
                    "workers",
                    f"no job done in {hung} times {patience:g} s",
                    "workers that stay alive",
                    "see Ray's logs",
                )
            if hung:
                for reference in waiting:
                    ray.cancel(reference, force=True)
                waiting = {remote.remote(function, job): job for job in waiting.values()}
    except ray.exceptions.WorkerCrashedError as error:
        raise WorkersLost("workers", str(error), "workers that stay alive", "see Ray's logs for the cause") from error
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _connected(address: str) -> Any:
    """Ray, connected to the cluster at `address`, or to a new one on this machine."""
    try:
        import ray
    except ImportError as error:
        raise MissingPackage("ray", "not installed", "Ray", "pip install 'wm-envs[ray]', or omit --ray") from error
    if not ray.is_initialized():
        _check_address(address)
        here = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}  # workers import the same modules
        try:
            ray.init(
                address=None if address == "local" else address, log_to_driver=False, include_dashboard=False,
                runtime_env=here if address == "local" else None,
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidOption(
                "ray", address, "the address of a running cluster, auto, or local", "start one with `ray start --head`"
            ) from error
    return ray


def _check_address(address: str) -> None:
    """Raise `InvalidOption` when nothing answers at host:port; Ray itself tries for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "local" or "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InvalidOption(
            "ray",
            address,
            f"a cluster that answers ({error})",
            "start one with `ray start --head`, or correct the port",
        ) from error


def _one_thread(function: Callable[[Job], Result], job: Job) -> Result:
    import torch

    torch.set_num_threads(1)
    return function(job)
