"""The body of the `loop` process: it alone runs graphs.

Commands come from the API through `thread_command` (NOTIFY, and a look every second besides), cycles from a timer or from
`wake`. A run is laid aside when it waits for people or for an instant and taken up again when that comes; after a crash
it goes on from its last checkpoint, found through what the database holds and through nothing in memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from psycopg import OperationalError
from pydantic import ValidationError

from agents.deps import AgentDeps, AgentSettings
from agents.graph import build_graph
from agents.model_client import ChatModel, Choice, WithFallback
from agents.model_use import Budgeted, Budgets, Counted, Spent
from agents.state import State
from agents.thread_store import ThreadCommand, ThreadStore, Waiting
from agents.wakes import Watchman
from knowledge.documents import ReaderRole
from telemetry.model.clock import read_wall
from tools.goal import PlanGoal
from tools.outlook import floor_step
from tools.replan_fleet import due

Graph = CompiledStateGraph[State, AgentDeps, State, State]
CYCLE = "cycle-"
REPLAN = "cycle-replan-"  # then the running plan's id and the quarter hour: a name that alone says what to do
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How the loop works; wall time except `cycle_every`.

    Attributes:
        owner: Names this process in leases.
        cycle_every: Domain time between two automated cycles; zero for none.
        look_every: Between two looks at the database when nobody notifies.
        lease: How long a lease lasts; it is renewed at a third of it.
        at_once: Runs at the same time.
        watch_every: Domain time between two looks for what should wake a cycle early; zero for none.
        budgets: What the language model may use.
    """

    owner: str
    cycle_every: timedelta = timedelta(minutes=15)
    look_every: timedelta = timedelta(seconds=1)
    lease: timedelta = timedelta(seconds=30)
    at_once: int = 4
    watch_every: timedelta = timedelta(minutes=1)
    budgets: Budgets = field(default_factory=Budgets)


@dataclass(slots=True, kw_only=True)
class Loop:
    """Runs chat turns and cycles until told to stop.

    `notified` yields whenever somebody wrote a command; `wall` is the wall clock for leases.
    """

    deps: AgentDeps
    threads: ThreadStore
    saver: BaseCheckpointSaver[str]
    settings: LoopSettings
    notified: Callable[[], AsyncIterator[None]]
    wall: Callable[[], datetime] = read_wall
    _busy: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _reasons: list[str] = field(default_factory=list)
    _next_cycle: datetime | None = None
    _replanned: datetime | None = None  # the quarter hour whose re-plans are listed
    _to_replan: list[str] = field(default_factory=list)
    _watchman: Watchman = field(default_factory=Watchman)
    _watched: datetime | None = None
    _graph: tuple[AgentSettings, Graph] | None = None
    _cancelling: dict[str, str] = field(default_factory=dict)  # threads whose run is being ended, and by whom

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then let what runs come to its next checkpoint."""
        listener = asyncio.create_task(self._listen())
        try:
            while not stop.is_set():
                try:
                    await self.look()
                except OperationalError:
                    _log.warning("the database is away")
                await self._rest(stop)
        finally:
            listener.cancel()
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(listener, *self._busy.values(), return_exceptions=True)

    def wake(self, reason: str) -> None:
        """Ask for a cycle soon: an incident, a forecast that was missed, an event. Several reasons make one cycle."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._wake.set()

    async def look(self) -> None:
        """Start whatever is due and not yet running."""
        now = self.deps.clock.now()
        for command in await self.threads.commands():
            if command.kind == "cancel" and (running := self._busy.get(command.thread_id)) is not None:
                self._end(command, running)
            self._start(command.thread_id, self._serve(command))
        for waiting in await self.threads.waiting():
            if waiting.until <= now:
                self._start(waiting.thread_id, self._resume(waiting))
        for thread_id in await self.threads.unfinished_cycles():
            self._start(thread_id, self._cycle(thread_id, "after an interruption"))
        await self._replan_due(now)
        await self._watch(now)
        if reason := self._cycle_due(now):
            thread_id = f"{CYCLE}{now:%Y%m%dT%H%M%S}"
            self._start(thread_id, self._cycle(thread_id, reason))

    async def settle(self) -> None:
        """Wait until nothing runs (for tests and for an orderly stop)."""
        while self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _end(self, command: ThreadCommand, running: "asyncio.Task[None]") -> None:
        """End a run in the middle of a node; what it has written stays, and it is not taken up again."""
        if command.thread_id not in self._cancelling:
            self._cancelling[command.thread_id] = command.who
            running.cancel()

    async def _watch(self, now: datetime) -> None:
        """Wake a cycle for a new incident, a load that has left its forecast, or a change of mode."""
        every = self.settings.watch_every
        if self.settings.cycle_every <= timedelta(0) or every <= timedelta(0):
            return
        if self._watched is not None and now - self._watched < every:
            return
        self._watched = now
        incidents = await self.deps.tools.incidents()
        fleet = await self.deps.tools.fleet()
        for reason in self._watchman.reasons(fleet, incidents, fleet.state.at):
            self.wake(reason)

    def _cycle_due(self, now: datetime) -> str:
        if any(thread_id.startswith(CYCLE) for thread_id in self._busy):
            return ""  # coalesced: whatever came up is looked at again after this one
        if self._full():
            return ""  # nothing is forgotten: it starts when the first of what runs has ended
        every = self.settings.cycle_every
        timer = every > timedelta(0) and (self._next_cycle is None or now >= self._next_cycle)
        reasons = [*self._reasons, *(["timer"] if timer else [])]
        if not reasons:
            return ""
        self._reasons.clear()
        self._next_cycle = now + every
        return ", ".join(reasons)

    async def _replan_due(self, now: datetime) -> None:
        """Look at each running plan again, once per quarter of an hour (where cycles run at all)."""
        quarter = floor_step(now)
        if self.settings.cycle_every > timedelta(0) and self._replanned != quarter:
            running = due(await self.deps.tools.plans.live(now, timedelta(0)), now)
            self._to_replan = [f"{REPLAN}{plan.plan_id}-{quarter:%Y%m%dT%H%M}" for plan in running]
            self._replanned = quarter
        for thread_id in tuple(self._to_replan):
            self._start(thread_id, self._cycle(thread_id, "every quarter of an hour"))
            if thread_id in self._busy:
                self._to_replan.remove(thread_id)

    def _start(self, thread_id: str, work: Coroutine[Any, Any, object]) -> None:
        """Run one piece of work of a thread, unless the thread is busy or enough is running."""
        if thread_id in self._busy or self._full():
            work.close()
            return
        task = asyncio.create_task(self._leased(thread_id, work))
        self._busy[thread_id] = task
        task.add_done_callback(lambda _: self._over(thread_id))

    def _full(self) -> bool:
        return len(self._busy) >= self.settings.at_once

    def _over(self, thread_id: str) -> None:
        self._busy.pop(thread_id, None)
        self._wake.set()

    async def _leased(self, thread_id: str, work: Coroutine[Any, Any, object]) -> None:
        """Do the work while this process holds the thread's lease."""
        owner = self.settings.owner
        if thread_id.startswith(CYCLE):
            title = "Plan worked out again" if thread_id.startswith(REPLAN) else "Automated cycle"
            await self.threads.open_thread(
                thread_id, kind="loop", title=title, who="loop", at=self.deps.clock.now()
            )
        if not await self._take_lease(thread_id):
            work.close()
            return
        working = asyncio.ensure_future(work)
        keeper = asyncio.create_task(self._keep(thread_id, working))
        try:
            await working
        except OperationalError:
            _log.warning("the database is away; the run goes on later", extra={"thread_id": thread_id})
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            with suppress(OperationalError):
                await self.threads.drop_lease(thread_id, owner=owner)

    async def _take_lease(self, thread_id: str) -> bool:
        wall = self.wall()
        return await self.threads.take_lease(
            thread_id, owner=self.settings.owner, wall=wall, until=wall + self.settings.lease
        )

    async def _keep(self, thread_id: str, working: "asyncio.Future[object]") -> None:
        """Renew the lease; if another process took it, stop working on the thread."""
        while True:
            await asyncio.sleep(self.settings.lease.total_seconds() / 3.0)
            if not await self._take_lease(thread_id):
                working.cancel()
                return

    async def _serve(self, command: ThreadCommand) -> None:
        """Carry out one command and mark it as done, however it came out."""
        match command.kind:
            case "message":
                outcome = await self._message(command)
            case "resume":
                waiting = await self._waiting_for(command)
                outcome = "nothing waits" if waiting is None else await self._resume(waiting)
            case _:
                outcome = await self._cancel(command)
        await self.threads.finish(command.command_no, at=self.deps.clock.now(), outcome=outcome[:200])

    async def _message(self, command: ThreadCommand) -> str:
        """Run a chat turn; a body with `goal` (or `cycle` true) begins at assess instead, in the same thread."""
        run_id = f"{command.thread_id}-{command.command_no}"
        body = command.body
        given: State = {
            "run_id": run_id,
            "thread_id": command.thread_id,
            "kind": "cycle" if body.get("goal") or body.get("cycle") else "chat",
            "request": str(body.get("text", ""))[:2000],
            "history": await self.threads.history(command.thread_id, command.command_no),
            "reader": await self._reader(command.who),
        }
        if body.get("goal"):
            try:
                goal = PlanGoal.model_validate(body["goal"])
            except ValidationError as error:
                text = f"the goal is malformed: {error.error_count()} errors"
                await self._tell(command.thread_id, "error", {"run_id": run_id, "text": text})
                return text
            given["goal"] = goal.model_dump(mode="json")
        return await self._run(command.thread_id, run_id, given)

    async def _reader(self, who: str) -> str:
        """Return as whom the library is read: a person's own role; anybody else, a viewer."""
        return await self.threads.role_of(who) or ReaderRole.VIEWER.value

    async def _waiting_for(self, command: ThreadCommand) -> Waiting | None:
        """Return the run that a resume means: the one it names by run or plan, else the thread's only one."""
        found = await self.threads.waiting(command.thread_id)
        for key in ("run_id", "plan_id"):
            if name := command.body.get(key):
                return next((one for one in found if getattr(one, key) == name), None)
        return found[0] if len(found) == 1 else None

    async def _cancel(self, command: ThreadCommand) -> str:
        """End a waiting run. What was dispatched is not undone: that is an abort, which goes to control."""
        waiting = await self._waiting_for(command)
        if waiting is None:
            return "nothing to cancel"
        body = {
            "run_id": waiting.run_id,
            "stage": "cancelled",
            "plan_id": waiting.plan_id,
            "who": command.who,
        }
        await self._tell(command.thread_id, "done", body)
        return "cancelled"

    async def _cycle(self, thread_id: str, reason: str) -> None:
        given: State = {"run_id": thread_id, "thread_id": thread_id, "kind": "cycle", "request": reason}
        if thread_id.startswith(REPLAN):
            given["kind"] = "replan"
            given["supersedes"] = thread_id.removeprefix(REPLAN).rpartition("-")[0]
        await self._run(thread_id, thread_id, given)

    async def _resume(self, waiting: Waiting) -> str:
        return await self._run(waiting.thread_id, waiting.run_id, None)

    async def _run(self, thread_id: str, run_id: str, given: State | None) -> str:
        """Begin a run, or go on with it from its last checkpoint, until it ends or waits; returns how it came out."""
        try:
            return await self._advance(thread_id, run_id, given)
        except asyncio.CancelledError:
            if (who := self._cancelling.pop(thread_id, None)) is None:
                raise
            body = {"run_id": run_id, "stage": "cancelled", "plan_id": "", "who": who}
            await self._tell(thread_id, "done", body)
            return "cancelled"
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 (one broken run must not end the process; it is told and logged)
            _log.exception("a run failed", extra={"thread_id": thread_id, "run_id": run_id})
            text = f"{type(error).__name__}: {error}"[:500]
            await self._tell(thread_id, "error", {"run_id": run_id, "text": text})
            return f"failed: {text}"

    async def _advance(self, thread_id: str, run_id: str, given: State | None) -> str:
        graph = self._compiled()
        config: RunnableConfig = {"configurable": {"thread_id": run_id}, "recursion_limit": 100}
        before = await graph.aget_state(config)
        reader = ReaderRole((given or before.values).get("reader", ReaderRole.VIEWER.value))
        model = Counted(self._within_budget(thread_id), self._counter(thread_id))
        watched = replace(self.deps, model=model, tools=replace(self.deps.tools, reader=reader))
        if before.values and not before.next:
            return await self._told(thread_id, run_id, before.values)
        if not before.next and given is None:
            return "nothing waits"
        start: State | Command[str] | None = given
        if before.next:
            start = Command(resume="look") if before.interrupts else None
        async for chunk in graph.astream(
            start, config, context=watched, stream_mode="custom", durability="sync"
        ):
            await self._tell(thread_id, chunk["kind"], {"run_id": run_id, **chunk["body"]})
        after = await graph.aget_state(config)
        if after.interrupts:
            await self._tell(thread_id, "interrupt", after.interrupts[0].value)
            return f"waits for {after.interrupts[0].value['kind']}"
        return await self._told(thread_id, run_id, after.values)

    def _compiled(self) -> Graph:
        """Return the graph, compiled once: that costs as much as a short run."""
        settings = self.deps.settings
        if self._graph is None or self._graph[0] != settings:
            self._graph = settings, build_graph(settings).compile(checkpointer=self.saver)
        return self._graph[1]

    def _within_budget(self, thread_id: str) -> ChatModel:
        """Return the model, asked only while the thread's and the day's budgets last."""
        budgets, model = self.settings.budgets, self.deps.model
        if budgets.unlimited or not isinstance(model, WithFallback):
            return model
        day = Budgeted(
            model=model.primary, spent=self._spent(None, budgets), budget=budgets.day, what="the day's budget"
        )
        thread = Budgeted(
            model=day,
            spent=self._spent(thread_id, budgets),
            budget=budgets.thread,
            what="this thread's budget",
        )
        return replace(model, primary=thread)

    def _spent(self, thread_id: str | None, budgets: Budgets) -> Callable[[], Awaitable[Spent]]:
        async def spent() -> Spent:
            since = self.deps.clock.now() - timedelta(hours=24)
            start = since if thread_id is None else datetime.min.replace(tzinfo=UTC)
            prompt, answer = await self.threads.used_since(start, thread_id)
            return Spent(tokens=prompt + answer, money=budgets.price.of(prompt, answer))

        return spent

    def _counter(self, thread_id: str) -> Callable[[Choice], Awaitable[None]]:
        async def count(choice: Choice) -> None:
            await self.threads.record_use(
                thread_id,
                at=self.deps.clock.now(),
                model=choice.label,
                prompt_tokens=choice.prompt_tokens,
                answer_tokens=choice.answer_tokens,
                seconds=choice.seconds,
            )

        return count

    async def _told(self, thread_id: str, run_id: str, values: Mapping[str, Any]) -> str:
        stage = str(values.get("stage", ""))
        body = {"run_id": run_id, "stage": stage, "plan_id": values.get("plan_id", "")}
        await self._tell(thread_id, "done", body)
        return stage

    async def _tell(self, thread_id: str, kind: str, body: Mapping[str, Any]) -> None:
        await self.threads.emit(thread_id, at=self.deps.clock.now(), kind=kind, body=body)

    async def _listen(self) -> None:
        while True:
            with suppress(OperationalError):
                async for _ in self.notified():
                    self._wake.set()
            await asyncio.sleep(self.settings.look_every.total_seconds())

    async def _rest(self, stop: asyncio.Event) -> None:
        """Sleep until something may have come up."""
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stop.wait())]
        await asyncio.wait(
            waits, timeout=self.settings.look_every.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
        for task in waits:
            task.cancel()
        self._wake.clear()
