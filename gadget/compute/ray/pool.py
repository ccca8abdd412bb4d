"""The workers of a cluster and the queue in front of them, for any number of scans.

One thread does all that concerns the workers, so nothing here is locked but the outcomes: others
put what they want into its events. Workers are started as the cluster has room for them, also on
nodes that join later, and asked now and then whether they are there. Work that was lost with a
worker goes to another one, `ATTEMPTS` times.
"""

import logging
import queue
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Condition, Thread

import ray
from ray.exceptions import RayTaskError

from gadget.errors import UsageError, describe
from jrsr_core.cancellation import TimeLimit, checkpoint
from jrsr_core.data import ReconImage

from .connect import connect, share_of
from .jobs import Hand, Job, Model, NoWorker, RemoteFailure, reason_of
from .worker import Answer, ClusterWorker, ModelRef

log = logging.getLogger("jrsr")

ATTEMPTS = 3
TICK = 0.5
STAFF_SECONDS = 2.0
"""Between two looks at what the cluster has room for."""

PING_SECONDS = 10.0
RETRY_SECONDS = 5.0
"""Between two attempts to join a cluster that is gone."""

PATIENCE = 60.0
"""Seconds without any worker before work fails, and without an answer before one is given up."""

START_SECONDS = 300.0
"""The same until the first worker is there."""

OVERDUE_SECONDS = 30.0
"""Seconds beyond the time limit after which a worker that should have stopped is ended."""


class Pool:
    """Starts workers, hands out work, gives up what died.

    Parameters
    ----------
    address
        "local" for this machine, else that of a cluster: ``ray://host:10001``, ``host:6379``.
    device
        auto, cpu or cuda.
    gpus_per_worker
        Share of a GPU, above 0 and at most 1; None for a whole one, or a core where there is none.

    Raises
    ------
    UsageError
        No cluster there, or none that has what is asked for.
    """

    def __init__(
        self, address: str, *, device: str = "auto", gpus_per_worker: float | None = None
    ) -> None:
        self.address = address
        self._is_ours = not ray.is_initialized()
        resources = connect(address)
        try:
            self.share = share_of(resources, address, device, gpus_per_worker)
        except UsageError:
            self._leave()
            raise
        self.n_wanted = self.share.n_workers(resources)
        self.n_lost = 0
        self._begin()
        self._hands: list[Hand] = []
        self._queue: deque[Job] = deque()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._settled = Condition()
        self._is_closed = False
        self._was_staffed = self._is_cut_off = False
        self._n_bad_rounds = 0
        self._is_bad_round = False
        self._why = ""
        self._last_seen = time.monotonic()
        self._next_look = 0.0
        self._thread = Thread(target=self._loop, name="cluster", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        """Set up what belongs to one connection to the cluster."""
        self._kind = ray.remote(ClusterWorker).options(
            scheduling_strategy="SPREAD", max_concurrency=2, **self.share.options
        )
        self._refs: weakref.WeakKeyDictionary[Model, ray.ObjectRef] = weakref.WeakKeyDictionary()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_workers(self) -> int:
        """Workers that are there."""
        return sum(bool(hand.where) for hand in list(self._hands))

    def __str__(self) -> str:
        lost = f", {self.n_lost} lost so far" if self.n_lost else ""
        return f"{self.n_workers} of {self.n_wanted} workers at {self.address}{lost}"

    def n_waiting(self, model: Model) -> int:
        """Jobs of a model that no worker has yet."""
        return sum(job.model is model for job in list(self._queue))

    def run(self, jobs: list[Job]) -> None:
        """Wait until every job has its outcome; raises what the caller's watch raises."""
        self._events.put(partial(self._queue.extend, jobs))
        try:
            with self._settled:
                while any(job.outcome is None for job in jobs):
                    self._settled.wait(0.05)
                    checkpoint()
        finally:
            self._events.put(partial(self._forget, [j for j in jobs if j.outcome is None]))

    def close(self) -> None:
        """End the workers, and leave the cluster."""
        self._is_closed = True
        self._events.put(lambda: None)
        self._thread.join()
        for hand in self._hands:
            with suppress(Exception):
                ray.kill(hand.handle)
        self._leave()

    def _leave(self) -> None:
        # Who joined before us wants to stay.
        if self._is_ours:
            ray.shutdown()

    def _loop(self) -> None:
        while not self._is_closed:
            try:
                event = self._events.get(timeout=TICK)
            except queue.Empty:
                event = None
            try:
                if event is not None:
                    event()
                self._look_after(time.monotonic())
                self._dispatch()
            except Exception:
                log.exception("cluster at %s", self.address)

    def _look_after(self, now: float) -> None:
        if now >= self._next_look:
            self._next_look = now + STAFF_SECONDS
            if self._is_cut_off:
                self._rejoin(now)
            else:
                self._staff(now)
        for hand in list(self._hands):
            self._look_at(hand, now)
        if self.n_workers:
            self._last_seen = now
        elif reason := self._no_hope(now):
            while self._queue:
                self._settle(self._queue.popleft(), NoWorker(reason))

    def _staff(self, now: float) -> None:
        """Start as many workers as the cluster has room for."""
        self._is_bad_round = False
        try:
            self.n_wanted = self.share.n_workers(ray.cluster_resources())
            for _ in range(self.n_wanted - len(self._hands)):
                hand = Hand(self._kind.remote(self.share.device, self.share.gpus or 1.0), now)
                self._hands.append(hand)
                self._ask(hand)
        except Exception as error:
            self._cut_off(error)

    def _cut_off(self, error: Exception) -> None:
        """Do without the cluster: its head is gone, and with it all that it had."""
        hands, self._hands = self._hands, []
        self.n_lost += len(hands)
        self.n_wanted = 0
        self._is_cut_off = True
        self._why = reason_of(error)
        log.error("no connection to the cluster at %s: %s", self.address, self._why)
        for hand in hands:
            if hand.job:
                self._again(hand.job)
        with suppress(Exception):
            ray.shutdown()

    def _rejoin(self, now: float) -> None:
        try:
            connect(self.address)
        except Exception as error:
            self._why = describe(error)
            self._next_look = now + RETRY_SECONDS
            return
        log.info("joined the cluster at %s again", self.address)
        self._is_cut_off, self._is_ours = False, True
        self._begin()
        self._staff(now)

    def _look_at(self, hand: Hand, now: float) -> None:
        """Ask a worker that has nothing to do whether it is there; end one that hangs."""
        silent = now - hand.since
        if hand.is_free and silent > PING_SECONDS:
            self._ask(hand)
        elif hand.job and hand.job.limit and silent > hand.job.limit + OVERDUE_SECONDS:
            job, hand.job = hand.job, None
            limit = f"took longer than the time limit of {job.limit:g} s and did not stop"
            self._settle(job, TimeLimit(limit))
            self._lose(hand, "it did not stop")
        elif hand.where and not hand.is_there and silent > PATIENCE:
            self._lose(hand, f"no answer for {PATIENCE:g} s")

    def _no_hope(self, now: float) -> str:
        """Return why nobody will compute what waits; empty while somebody may."""
        why = f" ({self._why})" if self._why else ""
        if not self._was_staffed and self._n_bad_rounds >= ATTEMPTS and not self._hands:
            return f"no worker of the cluster could be started{why}"
        patience = PATIENCE if self._was_staffed else START_SECONDS
        if now - self._last_seen > patience:
            return f"no worker of the cluster for {patience:g} s{why}"
        return ""

    def _ask(self, hand: Hand) -> None:
        """Use a worker no more until it has said that it is there."""
        hand.is_there, hand.since = False, time.monotonic()
        self._when_done(hand.handle.where.remote(), partial(self._said, hand))

    def _said(self, hand: Hand, future: Future) -> None:
        if hand not in self._hands:
            return
        if future.exception() is not None:
            self._lose(hand, reason_of(future.exception()))
            return
        if not hand.where:
            log.info("worker ready: %s", future.result())
        hand.where, hand.is_there, hand.since = future.result(), True, time.monotonic()
        self._was_staffed, self._n_bad_rounds = True, 0

    def _when_done(self, ref: ray.ObjectRef, then: Callable[[Future], None]) -> None:
        ref.future().add_done_callback(lambda future: self._events.put(partial(then, future)))

    def _dispatch(self) -> None:
        for hand in list(self._hands):
            if self._queue and hand.is_free:
                self._send(hand, self._queue.popleft())

    def _send(self, hand: Hand, job: Job) -> None:
        job.n_attempts += 1
        try:
            model = self._model(job.model)
            call = getattr(hand.handle, job.method)
            ref = call.remote(job.number, model, job.work, job.seconds)
        except Exception as error:
            self._settle(job, RemoteFailure(describe(error)))
            self._ask(hand)
            return
        hand.job, hand.since = job, time.monotonic()
        self._when_done(ref, partial(self._finished, hand, job))

    def _model(self, model: Model) -> ModelRef:
        """Put a model into the store of the cluster, from where each node fetches it once."""
        if model not in self._refs:
            self._refs[model] = ray.put(model.recon)
        return ModelRef(model.key, self._refs[model], model.device, model.batch_size)

    def _finished(self, hand: Hand, job: Job, future: Future) -> None:
        if hand.job is not job:
            return
        hand.job, hand.since = None, time.monotonic()
        error = future.exception()
        if error is None:
            self._take(hand, job, future.result())
        elif isinstance(error, RayTaskError):
            self._settle(job, RemoteFailure(describe(error.cause or error)))
        else:
            self._lose(hand, reason_of(error))
            self._again(job)

    def _take(self, hand: Hand, job: Job, answer: Answer) -> None:
        made = answer.made
        self._settle(job, RemoteFailure(made) if isinstance(made, str) else made)
        if answer.lost:
            # A new process has the device back, if it is still there.
            self._lose(hand, answer.lost)

    def _again(self, job: Job) -> None:
        if not job.is_wanted:
            return
        if job.n_attempts < ATTEMPTS:
            self._queue.appendleft(job)
        else:
            self._settle(job, RemoteFailure(f"{ATTEMPTS} workers died on it"))

    def _lose(self, hand: Hand, reason: str) -> None:
        """Do without a worker; others may have died with it, so they are asked."""
        self._hands.remove(hand)
        self.n_lost += 1
        self._why = reason
        log.warning("worker lost: %s: %s", hand.where or "it never started", self._why)
        if not hand.where and not self._is_bad_round:
            # Some of the first ones die where the cluster has just been started.
            self._is_bad_round = True
            self._n_bad_rounds += 1
            self._next_look = time.monotonic() + min(60.0, 2.0**self._n_bad_rounds)
        with suppress(Exception):
            ray.kill(hand.handle)
        for other in self._hands:
            if other.is_free:
                self._ask(other)

    def _forget(self, jobs: list[Job]) -> None:
        """Nobody waits for these any more."""
        for job in jobs:
            job.is_wanted = False
            if job in self._queue:
                self._queue.remove(job)
        for hand in self._hands:
            if hand.job in jobs:
                with suppress(Exception):
                    hand.handle.stop.remote(hand.job.number)

    def _settle(self, job: Job, outcome: ReconImage | Exception) -> None:
        with self._settled:
            job.outcome = outcome
            self._settled.notify_all()
