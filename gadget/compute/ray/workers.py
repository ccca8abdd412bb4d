"""The workers of a pool: they are started, checked, given work and replaced.

All of this is done by the thread of the pool; results of remote calls come to it as events.
"""

import logging
import re
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError

from gadget.errors import describe
from jrsr_core.common.cancellation import TimeLimit
from jrsr_core.data import KSpaceVolume

from .actor import Answer, ClusterWorker, ModelRef
from .connect import Share
from .work import ClusterModel, RemoteFailure, WorkItem, WorkQueue

log = logging.getLogger("jrsr")

PING_INTERVAL = 10.0
"""Seconds without work after which a worker is asked whether it responds."""

TIMEOUT = 60.0
"""Seconds without any worker before work fails, and without an answer before one is replaced."""

FIRST_TIMEOUT = 300.0
"""Seconds without any worker before work fails, until the first worker has started."""

MAX_BAD_STARTS = 3
"""Rounds of workers that did not start, before work fails."""

OVERDUE_SECONDS = 30.0
"""Seconds beyond the time limit after which a worker that should have stopped is ended."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker as the pool sees it.

    Attributes
    ----------
    since
        When its work was sent, it answered last, or the open question was asked.
    where
        Process and host; empty until it has started.
    responds
        Whether it has answered the last question.
    item
        What it computes; None while it is idle.
    """

    actor: ActorHandle
    since: float
    where: str = ""
    responds: bool = False
    item: WorkItem | None = None

    @property
    def is_free(self) -> bool:
        """Whether work may be sent to it."""
        return self.responds and self.item is None

    def ask(self) -> ray.ObjectRef:
        """Ask the worker where it is; no work is sent to it until it has answered."""
        self.responds, self.since = False, time.monotonic()
        return self.actor.where.remote()

    def send(self, item: WorkItem, model: ModelRef) -> ray.ObjectRef:
        """Send work; the answer is an `Answer`."""
        method = self.actor.volume if isinstance(item.data, KSpaceVolume) else self.actor.slice
        answer = method.remote(item.number, model, item.data, item.seconds)
        self.item, self.since = item, time.monotonic()
        return answer

    def kill(self) -> None:
        """End the process of the worker."""
        with suppress(Exception):
            ray.kill(self.actor)


class Workers:
    """Workers of one kind.

    Parameters
    ----------
    share
        What one worker takes of the cluster.
    queue
        Where work comes from, and returns to when its worker dies.
    post
        Has a function called by the thread of the pool.

    Attributes
    ----------
    handles
        Workers that are there or starting.
    n_wanted
        How many the cluster has room for.
    n_lost
        How many were lost so far.
    next_start
        When missing workers are started next (`time.monotonic`).
    """

    def __init__(
        self, share: Share, queue: WorkQueue, post: Callable[[Callable[[], None]], None]
    ) -> None:
        self.handles: list[WorkerHandle] = []
        self.n_wanted = self.n_lost = 0
        self.next_start = 0.0
        self.reason = ""
        self._share = share
        self._queue = queue
        self._post = post
        self._has_started_any = False
        self._n_bad_starts = 0
        self._is_bad_start = False
        self._last_seen = time.monotonic()
        self.connected()

    def connected(self) -> None:
        """Set up what belongs to one connection to the cluster."""
        self._kind = ray.remote(ClusterWorker).options(
            scheduling_strategy="SPREAD", max_concurrency=2, **self._share.options
        )
        self._refs: weakref.WeakKeyDictionary[ClusterModel, ray.ObjectRef] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def n_ready(self) -> int:
        """Workers that have started."""
        return sum(bool(handle.where) for handle in list(self.handles))

    def start_missing(self) -> None:
        """Start as many workers as the cluster has room for; raises what Ray raises."""
        self._is_bad_start = False
        self.n_wanted = self._share.n_workers(ray.cluster_resources())
        for _ in range(self.n_wanted - len(self.handles)):
            actor = self._kind.remote(self._share.device, self._share.gpus or 1.0)
            self.handles.append(WorkerHandle(actor, time.monotonic()))
            self._ask(self.handles[-1])

    def check(self) -> None:
        """Ask idle workers whether they respond, end those that hang; fail work without workers."""
        now = time.monotonic()
        for handle in list(self.handles):
            self._check(handle, now)
        if self.n_ready:
            self._last_seen = now
        elif reason := self._why_none_will_come(now):
            self._queue.fail(reason)

    def _check(self, handle: WorkerHandle, now: float) -> None:
        silent, item = now - handle.since, handle.item
        if handle.is_free and silent > PING_INTERVAL:
            self._ask(handle)
        elif item and item.limit and silent > item.limit + OVERDUE_SECONDS:
            handle.item = None
            limit = f"took longer than the time limit of {item.limit:g} s and did not stop"
            self._queue.settle(item, TimeLimit(limit))
            self._lose(handle, "it did not stop")
        elif handle.where and not handle.responds and silent > TIMEOUT:
            self._lose(handle, f"no answer for {TIMEOUT:g} s")

    def _why_none_will_come(self, now: float) -> str:
        """Return why no worker will compute the queue; empty while one may."""
        why = f" ({self.reason})" if self.reason else ""
        never = not self._has_started_any
        if never and self._n_bad_starts >= MAX_BAD_STARTS and not self.handles:
            return f"no worker of the cluster could be started{why}"
        timeout = FIRST_TIMEOUT if never else TIMEOUT
        if now - self._last_seen > timeout:
            return f"no worker of the cluster for {timeout:g} s{why}"
        return ""

    def _ask(self, handle: WorkerHandle) -> None:
        self._when_done(handle.ask(), partial(self._answered, handle))

    def _answered(self, handle: WorkerHandle, future: Future) -> None:
        if handle not in self.handles:
            return
        error = future.exception()
        if error is not None:
            self._lose(handle, reason_of(error))
            return
        if not handle.where:
            log.info("worker ready: %s", future.result())
        handle.where, handle.responds, handle.since = future.result(), True, time.monotonic()
        self._has_started_any, self._n_bad_starts = True, 0

    def _when_done(self, ref: ray.ObjectRef, then: Callable[[Future], None]) -> None:
        ref.future().add_done_callback(lambda future: self._post(partial(then, future)))

    def send_work(self) -> None:
        """Send the head of the queue to every worker that is free."""
        for handle in list(self.handles):
            if len(self._queue) and handle.is_free:
                self._send(handle, self._queue.pop())

    def _send(self, handle: WorkerHandle, item: WorkItem) -> None:
        item.n_attempts += 1
        try:
            answer = handle.send(item, self._model_ref(item.model))
        except Exception as error:
            self._queue.settle(item, RemoteFailure(describe(error)))
            self._ask(handle)
            return
        self._when_done(answer, partial(self._finished, handle, item))

    def _model_ref(self, model: ClusterModel) -> ModelRef:
        """Put a model into the object store, from where each node fetches it once."""
        if model not in self._refs:
            self._refs[model] = ray.put(model.recon)
        return ModelRef(model.key, self._refs[model], model.device, model.batch_size)

    def _finished(self, handle: WorkerHandle, item: WorkItem, future: Future) -> None:
        if handle.item is not item:
            return
        handle.item, handle.since = None, time.monotonic()
        error = future.exception()
        if error is None:
            self._use(handle, item, future.result())
        elif isinstance(error, RayTaskError):
            self._queue.settle(item, RemoteFailure(describe(error.cause or error)))
        else:
            self._lose(handle, reason_of(error))
            self._queue.retry(item)

    def _use(self, handle: WorkerHandle, item: WorkItem, answer: Answer) -> None:
        made = answer.outcome
        self._queue.settle(item, RemoteFailure(made) if isinstance(made, str) else made)
        if answer.lost:
            # A new process can use the GPU again, if it still works.
            self._lose(handle, answer.lost)

    def _lose(self, handle: WorkerHandle, reason: str) -> None:
        """Remove a worker, and ask the others, which may have died with it."""
        self.handles.remove(handle)
        self.n_lost += 1
        self.reason = reason
        log.warning("worker lost: %s: %s", handle.where or "it never started", reason)
        if not handle.where and not self._is_bad_start:
            # Some of the first workers die where the cluster has just been started.
            self._is_bad_start = True
            self._n_bad_starts += 1
            self.next_start = time.monotonic() + min(60.0, 2.0**self._n_bad_starts)
        handle.kill()
        for other in self.handles:
            if other.is_free:
                self._ask(other)

    def disconnected(self, reason: str) -> None:
        """Give up all workers together with the connection; their work returns to the queue."""
        handles, self.handles = self.handles, []
        self.n_lost += len(handles)
        self.n_wanted = 0
        self.reason = reason
        for handle in handles:
            if handle.item:
                self._queue.retry(handle.item)

    def stop(self, items: list[WorkItem]) -> None:
        """Stop the computation of work that nobody waits for any more."""
        for handle in self.handles:
            if handle.item and handle.item in items:
                with suppress(Exception):
                    handle.actor.stop.remote(handle.item.number)


def reason_of(error: BaseException) -> str:
    """Return the one line that matters of Ray's message, the worker's own error if it has one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    why = [line for line in lines if line.startswith("The actor is dead because")]
    return (own[-1:] or why or lines or [type(error).__name__])[0][:300]
