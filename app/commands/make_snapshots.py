"""Makes the snapshots of types whose policy has a reducer."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from app.commands.locate_unstorable import locate_in_json
from app.errors import (
    AggregateNotFound,
    EventsDetached,
    FoldFailed,
    FoldUnavailable,
    InvalidInput,
    UnstorableValue,
    VersionNotFound,
)
from app.folding.process import FoldProcess
from app.folding.reducer import Reducer, parse_reducer
from app.metrics import Metrics
from app.queries.get_state import get_state
from app.queries.policy_cache import PolicyCache
from app.store.due_store import DueAggregate, DuePlace, DueStore
from app.store.event_reader import EventReader
from app.store.made_snapshot_store import Failure, MadeSnapshot, MadeSnapshotStore
from app.store.policy_store import PolicyStore

BATCH = 50
# The events of one are read while those of another are folded.
TOGETHER = 2
BATCH_BYTES = 4 * 1024 * 1024
STEP_S = 0.25
# A type whose step took longer goes behind all others, for so many times as long.
SLOW_S = 1.0
SLOW_FACTOR = 4.0
# After so many events an aggregate's state is kept, and others have their turn: what a crash costs.
STRIDE = 10_000
MAX_MESSAGE_LENGTH = 2_000

logger = logging.getLogger(__name__)


class SnapshotMaker:
    """Takes what is due from the list, type by type, folds it, and saves what it has folded.

    In each type from the largest to the smallest, and then from the beginning again, so that
    nothing which cannot be folded now stands in the way of the others. Nor do types whose reducer
    takes all the time that it may: they go behind others for a while. Nothing is lost in a crash:
    what was not saved is still due.
    """

    def __init__(
        self,
        policies: PolicyCache,
        policy_store: PolicyStore,
        due_store: DueStore,
        made_store: MadeSnapshotStore,
        reader: EventReader,
        fold_process: FoldProcess,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._policies = policies
        self._policy_store = policy_store
        self._due_store = due_store
        self._made_store = made_store
        self._reader = reader
        self._fold_process = fold_process
        self._metrics = metrics
        self._clock = clock
        # By type, with the hash that it was stored with; None: it cannot be meant by this release.
        self._reducers: dict[str, tuple[str, Reducer | None]] = {}
        self._places: dict[str, DuePlace] = {}
        self._last_type = ""
        # By type; on the clock of the event loop.
        self._slow_until: dict[str, float] = {}

    async def step(self) -> bool:
        """Make some snapshots of the next type; whether there are more to make at once."""
        hashes = self._policies.reducer_hashes
        if not hashes:
            return False
        is_more = False
        for aggregate_type in self._in_turn(list(hashes)):
            self._last_type = aggregate_type
            reducer = await self._reducer(aggregate_type, hashes[aggregate_type])
            if reducer is not None and await self._make_some_in_time(aggregate_type, reducer):
                is_more = True
                break
        return is_more

    async def _make_some_in_time(self, aggregate_type: str, reducer: Reducer) -> bool:
        clock = asyncio.get_running_loop().time
        begin = clock()
        try:
            return await self._make_some(aggregate_type, reducer)
        finally:
            took_s = clock() - begin
            if took_s > SLOW_S:
                self._slow_until[aggregate_type] = clock() + took_s * SLOW_FACTOR
            else:
                self._slow_until.pop(aggregate_type, None)

    def _in_turn(self, types: list[str]) -> list[str]:
        """The types in a fixed order, from the one behind the last that had its turn.

        Behind all others those that were slow lately.
        """
        now = asyncio.get_running_loop().time()
        return sorted(
            types,
            key=lambda each: (
                self._slow_until.get(each, 0.0) > now,
                each <= self._last_type,
                each,
            ),
        )

    async def _reducer(self, aggregate_type: str, stored_hash: str) -> Reducer | None:
        known = self._reducers.get(aggregate_type)
        if known is not None and known[0] == stored_hash:
            return known[1]
        policy = await self._policy_store.get_policy(aggregate_type)
        if policy is None or policy.reducer is None or policy.reducer_hash is None:
            return None
        try:
            reducer = parse_reducer(bytes(policy.reducer), "$.reducer")
        except InvalidInput as error:
            logger.error("the reducer of %r cannot be used: %s", aggregate_type, error)
            self._reducers[aggregate_type] = policy.reducer_hash, None
            return None
        if reducer.hash != policy.reducer_hash:
            # An earlier release has stored it, which folds otherwise.
            await self._policy_store.rename_reducer(
                aggregate_type, policy.reducer_hash, reducer.hash
            )
            await self._policies.refresh()
        self._reducers[aggregate_type] = reducer.hash, reducer
        return reducer

    async def _make_some(self, aggregate_type: str, reducer: Reducer) -> bool:
        """Make snapshots from where it was left off; whether the list goes on."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + STEP_S
        after = self._places.get(aggregate_type, DuePlace(aggregate_type=aggregate_type))
        page = await self._due_store.list_due(aggregate_type, after=after, limit=BATCH)
        made: list[MadeSnapshot] = []
        size = 0
        next_place = page.next_place
        trouble: FoldUnavailable | None = None
        for start in range(0, len(page.aggregates), TOGETHER):
            together = page.aggregates[start : start + TOGETHER]
            outcomes = await asyncio.gather(
                *(self._fold(reducer, due) for due in together), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, FoldUnavailable):
                    trouble = outcome
                elif isinstance(outcome, BaseException):
                    raise outcome
                elif outcome is not None:
                    made.append(outcome)
                    size += len(bytes(outcome.state))
            if trouble or clock() > deadline or size > BATCH_BYTES:
                # Of trouble: what has been folded is saved, and next time it goes on behind this.
                next_place = together[-1].place
                break
        if next_place is None:
            self._places.pop(aggregate_type, None)
        else:
            self._places[aggregate_type] = next_place
        # Afterwards, so that what cannot be saved now does not stand in the way of others, either.
        if made:
            await self._save(aggregate_type, reducer, made)
        if trouble is not None:
            raise trouble
        return bool(page.aggregates) or next_place is not None

    async def _fold(self, reducer: Reducer, due: DueAggregate) -> MadeSnapshot | None:
        at_version = None
        if due.version - due.snapshot_version > STRIDE:
            at_version = due.snapshot_version + STRIDE
        begin = time.monotonic()
        try:
            found = await get_state(
                self._reader,
                self._fold_process,
                reducer,
                due.aggregate_type,
                due.aggregate_id,
                at_version=at_version,
            )
        except FoldFailed as error:
            await self._save_failure(reducer, error)
            return None
        except EventsDetached as error:
            await self._save_detached(reducer, due, error)
            return None
        except (AggregateNotFound, VersionNotFound):
            # A row of the list that nothing stands for any more.
            return None
        self._metrics.count_fold(
            found.version - (found.from_snapshot or 0), time.monotonic() - begin
        )
        return MadeSnapshot(due.aggregate_id, found.version, found.state)

    async def _save(self, aggregate_type: str, reducer: Reducer, made: list[MadeSnapshot]) -> None:
        try:
            await self._made_store.save_made_snapshots(
                aggregate_type, reducer.hash, made, self._clock()
            )
        except UnstorableValue as error:
            if len(made) > 1:
                for snapshot in made:
                    await self._save(aggregate_type, reducer, [snapshot])
                return
            await self._save_unstorable(aggregate_type, reducer, made[0], error)
        else:
            self._metrics.snapshots_made.inc(by=len(made))

    async def _save_unstorable(
        self, aggregate_type: str, reducer: Reducer, made: MadeSnapshot, error: UnstorableValue
    ) -> None:
        located = locate_in_json(bytes(made.state), "$") or error
        page = await self._reader.read_events(
            aggregate_type,
            made.aggregate_id,
            from_version=made.version,
            to_version=made.version,
            limit=1,
        )
        [event] = page.events
        await self._save_failure(
            reducer,
            FoldFailed(
                aggregate_type,
                made.aggregate_id,
                event.version,
                event.event_id,
                event.event_type,
                f"the state at this event, or at one before, cannot be stored: {located}",
            ),
        )

    async def _save_failure(self, reducer: Reducer, error: FoldFailed) -> None:
        message = error.reason.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        await self._note(
            reducer,
            Failure(
                error.aggregate_type,
                error.aggregate_id,
                error.version,
                error.event_id,
                error.event_type,
                message[:MAX_MESSAGE_LENGTH],
            ),
        )

    async def _save_detached(
        self, reducer: Reducer, due: DueAggregate, error: EventsDetached
    ) -> None:
        needed_from = due.snapshot_version + 1
        await self._note(
            reducer,
            Failure(
                due.aggregate_type,
                due.aggregate_id,
                needed_from,
                None,
                None,
                f"{error}, and have events from version {needed_from} on: attach them",
            ),
        )

    async def _note(self, reducer: Reducer, failure: Failure) -> None:
        await self._made_store.save_failure(failure, reducer.hash, self._clock())
        self._metrics.snapshots_failed.inc()
