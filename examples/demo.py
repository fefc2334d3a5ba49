"""Myriad on one machine, for real: trains, survives the loss of a node, serves, and bills.

`make demo`, or `python examples/demo.py [--keep]`. Six nodes (real processes) live in a fresh folder; the
folder goes when all went well. Exit code 1 when anything that the story says did not happen.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import NamedTuple, NoReturn, TypeVar

import openai
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from myriad.cli import journal, show, submit
from myriad.cli.client import Client
from myriad.cli.context import Context
from myriad.control.views import JobView, NodeView, ServiceView
from myriad.engines.common import procs
from myriad.engines.local import agent, paths
from myriad.kernel.errors import UserError
from myriad.kernel.units import SECOND
from myriad.protocol import facts
from myriad.protocol.facts import Fact

EXAMPLES = Path(__file__).resolve().parent
REPORT = Path("demo-report.html")
JOB, MODEL, TENANT = "tiny-llama", "tiny-coder", "acme"
CLIENTS, REQUESTS = 16, 32
PATIENCE_S = 240.0
LOOK_EVERY_S = 0.2

T = TypeVar("T")


class Failed(Exception):
    """The story cannot go on."""


class Stage:
    """Tells the story, keeps its checks and its times."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        self.context = Context(home=str(home))
        self.failed: list[str] = []
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One numbered step of the story, timed."""
        self.console.print()
        self.console.rule(f"[bold]{len(self.times) + 1}. {title}", align="left")
        begun_at = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - begun_at))

    def say(self, text: str) -> None:
        """A line of the narrator."""
        self.console.print(text)

    def check(self, fine: bool, text: str) -> None:
        """A claim of the story; one that does not hold fails the demo at its end."""
        self.console.print(Text("✓ ", "bold green") + text if fine else Text("✗ " + text, "bold red"))
        if not fine:
            self.failed.append(text)

    def myriad(self, *arguments: str) -> None:
        """Run a command of the command line, as a person would."""
        self.console.print(Text(f"$ myriad {' '.join(arguments)}", "bold cyan"))
        sys.stdout.flush()
        command = [sys.executable, "-m", "myriad.cli", *arguments]
        done = subprocess.run(command, env=os.environ | {"MYRIAD_HOME": str(self.home)}, check=False)
        if done.returncode:
            raise Failed(f"`myriad {arguments[0]}` ended with code {done.returncode}")

    def watch(self, look: Callable[[], T], until: Callable[[T], bool], draw: Callable[[T], object]) -> T:
        """Look again and again, showing what is seen, until it is as wanted. Raises Failed after minutes."""
        give_up_at = time.monotonic() + PATIENCE_S
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:
            while not until(seen := look()):
                if self.console.is_terminal:
                    live.update(draw(seen))  # type: ignore[arg-type]
                if time.monotonic() > give_up_at:
                    raise Failed(f"waited {PATIENCE_S:.0f} s in vain")
                time.sleep(LOOK_EVERY_S)
        return seen


class Story:
    """The acts, in their order."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.operator: Client
        self.tenant: Client
        self.job = ""

    def play(self) -> None:
        """All of it."""
        stage = self.stage
        with stage.step("A control plane, a gateway and six nodes on this machine"):
            self.start()
        with stage.step("A tenant submits a pre-training job for four nodes"):
            self.train_half()
        with stage.step("A whole node is killed in the middle"):
            self.lose_a_node()
        with stage.step("The job succeeds as if nothing had happened"):
            self.finish()
        with stage.step("What was trained is served by two replicas; one is killed under load"):
            self.serve()
        with stage.step("Every chip-second, every promise, every cent"):
            self.account()
        with stage.step("The journal is whole, and nothing is left running"):
            self.end()

    # ---- 1

    def start(self) -> None:
        """Everything is fresh: folder, journal, ports."""
        self.stage.say(f"home {self.stage.home}")
        self.stage.myriad("up", "--port", "0", "--gateway-port", "0")
        self.operator = self.stage.context.local()
        nodes = self.operator.nodes()
        spares = [node.node for node in nodes if node.state == "spare"]
        self.stage.check(
            len(nodes) == 6 and len(spares) == 1, f"6 nodes, {', '.join(spares)} is kept as a hot spare"
        )

    # ---- 2

    def train_half(self) -> None:
        """Submit with the tenant's own key, and let half of the steps be done."""
        self.stage.myriad("tenant", "apply", str(EXAMPLES / "tenants.yaml"))
        self.tenant = Client(self.operator.url, self.stage.context.keys()[TENANT])
        self.stage.myriad("--as", TENANT, "submit", str(EXAMPLES / "pretrain.yaml"))
        self.job = self.tenant.job(JOB).job
        job = self.watch_job(lambda job: 2 * job.kept_step >= job.steps)
        self.stage.say(submit.line(job))
        self.stage.check(job.kept_step > 0, f"a complete checkpoint of step {job.kept_step} is on record")

    def watch_job(self, until: Callable[[JobView], bool]) -> JobView:
        """Show job and nodes live. Raises Failed when the job ends otherwise than it should."""

        def enough(seen: tuple[JobView, list[NodeView]]) -> bool:
            if seen[0].state in ("failed", "cancelled"):
                raise Failed(submit.line(seen[0]))
            return until(seen[0])

        look = lambda: (self.tenant.job(self.job), self.operator.nodes())
        return self.stage.watch(look, enough, drawn_job)[0]

    # ---- 3

    def lose_a_node(self) -> None:
        """SIGKILL every process of a node of the gang, and read what the brain makes of it."""
        stage, before = self.stage, self.tenant.job(self.job)
        spare = next(node.node for node in self.operator.nodes() if node.state == "spare")
        victim = before.placed_on[1]
        last = self.operator.journal(limit=1).last
        killed_at = time.time_ns()
        count = kill_node(stage.home, victim)
        stage.say(f"node {victim}: SIGKILL to all {count} of its processes, at step {before.step}")
        seen = self.tell_until(last, killed_at, lambda fact: isinstance(fact, facts.StepsDone))
        placed = last_of(seen, facts.GangPlaced)
        stopped, running = last_of(seen, facts.GangStopped), last_of(seen, facts.GangRunning)
        nodes = [member.node for member in placed.members]
        stayed = set(before.placed_on) - {victim}
        stage.check(
            set(nodes) == stayed | {spare}, f"the spare {spare} takes the place of {victim}, the rest stay"
        )
        stage.check(
            running.step >= stopped.kept_step > 0,
            f"training goes on after step {running.step}, the last complete checkpoint",
        )
        stage.check(
            stopped.cause == "node", "the fault is the site's: the job loses no retry and pays nothing"
        )
        stage.say(f"killed -> training again: {(running.at - killed_at) / SECOND:.1f} s")

    def tell_until(self, after: int, since: int, enough: Callable[[Fact], bool]) -> list[Fact]:
        """Print the journal as it grows, with the time since the kill, until the gang makes progress."""
        told: list[Fact] = []
        runs = False
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            for entry in self.operator.journal(after).entries:
                after = entry.seq
                for fact in entry.facts:
                    runs = runs or isinstance(fact, facts.GangRunning)
                    if isinstance(fact, TELLING):
                        self.stage.console.print(
                            f"  +{(fact.at - since) / SECOND:5.2f} s  {journal.line(fact)}", style="dim"
                        )
                        told.append(fact)
                    if runs and enough(fact):
                        return told
            time.sleep(0.05)
        raise Failed("the gang did not come back")

    # ---- 4

    def finish(self) -> None:
        """To the last step."""
        job = self.watch_job(lambda job: job.state == "succeeded")
        self.stage.say(submit.line(job))
        self.stage.check(job.step == job.steps, f"all {job.steps} steps are done, in {job.attempts} attempts")
        model = self.stage.home / "jobs" / job.job / "output" / "model"
        names = {path.name for path in model.iterdir()}
        there = {"config.json", "tokenizer.json"} <= names and any(n.endswith(".safetensors") for n in names)
        self.stage.check(there, f"exported as a Hugging Face folder: {', '.join(sorted(names))}")

    # ---- 5

    def serve(self) -> None:
        """Two replicas, sixteen clients, one kill."""
        stage = self.stage
        stage.myriad("--as", TENANT, "serve", str(EXAMPLES / "service.yaml"))
        service = stage.watch(self.service, lambda one: one.ready == 2, drawn_service)
        stage.say(f"2 replicas ready: {', '.join(replica.node for replica in service.replicas)}")
        url = f"{stage.context.gateway(self.operator)}/v1"
        client = openai.OpenAI(base_url=url, api_key=self.tenant.key, max_retries=0, timeout=120)
        stage.say(f"{REQUESTS} streamed requests of {CLIENTS} clients at {url}")
        answers = self.load_and_kill(client, service)
        whole = [answer for answer in answers if not answer.error]
        cut = [answer for answer in answers if answer.error and answer.began]
        lost = [answer for answer in answers if answer.error and not answer.began]
        stage.say(f"{len(whole)} complete, {len(cut)} cut in mid-stream, {len(lost)} failed before a byte")
        stage.check(not lost, "no request that had not yet streamed a byte failed")
        for answer in lost[:3]:
            stage.say(f"  {answer.error}")
        stage.check(
            len(whole) + len(cut) == REQUESTS and len(whole) > 0, f"all {REQUESTS} requests accounted for"
        )
        dead = service.replicas[0].attempt
        after = stage.watch(self.service, lambda one: one.ready == 2 and is_without(dead, one), drawn_service)
        where = ", ".join(replica.node for replica in after.replicas)
        stage.check(
            is_without(dead, after), f"a new replica took the place of the dead one: {where} are ready"
        )
        stage.myriad("--as", TENANT, "chat", MODEL, "def fibonacci(", "--max-tokens", "48")

    def service(self) -> ServiceView:
        """The one service."""
        return self.operator.services()[0]

    def load_and_kill(self, client: openai.OpenAI, service: ServiceView) -> "list[Answer]":
        """Kill one replica's node as soon as the first bytes stream."""
        streaming = Event()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(ask, client, number, streaming) for number in range(REQUESTS)]
            if not streaming.wait(PATIENCE_S):
                raise Failed("no answer streamed a byte")
            victim = service.replicas[0].node
            waiting = sum(not one.done() for one in asked)
            count = kill_node(self.stage.home, victim)
            self.stage.say(
                f"node {victim}: SIGKILL to all {count} of its processes, {waiting} requests unanswered"
            )
            return [one.result() for one in asked]

    # ---- 6

    def account(self) -> None:
        """Waterfall, promises, invoice, report."""
        stage = self.stage
        for command in (("ledger",), ("predictions",), ("invoice", TENANT), ("report", self.job)):
            stage.myriad(*command)
        site = self.operator.ledger().site
        assert site
        opened = next(iter(self.operator.journal(limit=20).entries)).facts
        since = next(fact.at for fact in opened if isinstance(fact, facts.SiteOpened))
        chips = self.operator.site().chips
        took = (site.at - since) / SECOND
        stage.check(
            sum(site.buckets.values()) == site.capacity_chip_ns == chips * (site.at - since),
            f"the buckets sum to {chips} chips x {took:.3f} s, to the nanosecond",
        )
        REPORT.write_text(self.operator.report_html(), encoding="utf-8")
        stage.check(REPORT.stat().st_size > 0, f"wrote {REPORT.absolute()}")

    # ---- 7

    def end(self) -> None:
        """Verify, close, look for left-overs."""
        self.stage.myriad("journal", "--verify")
        self.stage.myriad("down")
        left = left_over(self.stage.home)
        self.stage.check(not left, f"no process of {self.stage.home} is left" + (f": {left}" if left else ""))


#: What the narrator reads aloud of the journal.
TELLING = (
    facts.NodeLost,
    facts.NodeMoved,
    facts.GangStopping,
    facts.GangStopped,
    facts.GangPlaced,
    facts.GangStarted,
    facts.GangRunning,
)

F = TypeVar("F", bound=Fact)


def last_of(seen: list[Fact], kind: type[F]) -> F:
    """The last fact of a kind."""
    return next(fact for fact in reversed(seen) if isinstance(fact, kind))


def kill_node(home: Path, node: str) -> int:
    """SIGKILL everything of a node, as when it loses power; how many processes that were."""
    record = agent.read_record(paths.agent_record(home, node))
    assert record, f"{node} has no agent on record"
    victims = procs.of_incarnation(record.pid, record.started, record.instance)
    for process in victims:
        procs.send(process.pid, signal.SIGKILL)
    return len(victims)


def left_over(home: Path) -> list[str]:
    """Processes that were started for the home: its path is in their command line or environment."""
    found = []
    for process in procs.table():
        try:
            told = (
                Path(f"/proc/{process.pid}/cmdline").read_bytes()
                + Path(f"/proc/{process.pid}/environ").read_bytes()
            )
        except OSError:
            continue
        if os.fsencode(home) in told:
            found.append(f"{process.pid} {' '.join(procs.arguments(process.pid))[:80]}")
    return found


class Answer(NamedTuple):
    """How one request went."""

    began: bool  # a byte of the answer was streamed
    error: str


def ask(client: openai.OpenAI, number: int, streaming: Event) -> Answer:
    """One streamed chat completion, without retries of the client's own."""
    began = False
    try:
        stream = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"def function_{number}("}],
            max_tokens=32,
            stream=True,
        )
        for _ in stream:
            began = True
            streaming.set()
    except openai.OpenAIError as error:
        return Answer(began, f"{type(error).__name__}: {error}")
    return Answer(began, "")


def is_without(attempt: str, service: ServiceView) -> bool:
    """Whether the replica is gone from the service."""
    return all(replica.attempt != attempt for replica in service.replicas)


def drawn_job(seen: tuple[JobView, list[NodeView]]) -> Group:
    """The job's progress above its nodes."""
    job, nodes = seen
    bar = Text(show.bar(job.step / job.steps, 24).ljust(24, "·"), "green")
    told = (
        f"  step {job.step}/{job.steps}  loss {job.loss:.3f}  checkpoint {job.kept_step or '-'}  {job.state}"
    )
    states = Text("  ").join(Text(f"{node.node} ") + show.state(node.state) for node in nodes)
    return Group(bar + Text(told, "default"), states)


def drawn_service(service: ServiceView) -> Text:
    """Its replicas."""
    parts = [Text(f"{replica.node} ") + show.state(replica.state) for replica in service.replicas]
    return Text(f"{service.name}: {service.ready} of {service.wanted} ready   ") + Text("  ").join(parts)


def main() -> int:
    """Play the story; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the home")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    stage = Stage(Path(tempfile.mkdtemp(prefix="myriad-demo-")))
    begun_at = time.monotonic()
    try:
        Story(stage).play()
    except (Failed, UserError) as error:
        stage.check(False, str(error))
    except KeyboardInterrupt:
        stage.check(False, "interrupted")
    finally:
        clean_up(stage)
    return concluded(stage, time.monotonic() - begun_at, keep=options.keep)


def interrupted(*_: object) -> NoReturn:
    """A polite end is one like Ctrl-C."""
    raise KeyboardInterrupt


def clean_up(stage: Stage) -> None:
    """End whatever runs, however the story ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if left_over(stage.home):
        command = [sys.executable, "-m", "myriad.cli", "--home", str(stage.home), "down", "--grace", "0s"]
        subprocess.run(command, check=False)


def concluded(stage: Stage, took_s: float, *, keep: bool) -> int:
    """Say how it went; remove the home of a story that went well."""
    stage.say("")
    for title, step_s in stage.times:
        stage.say(f"  {step_s:6.1f} s  {title}")
    stage.say(f"  {took_s:6.1f} s  in all")
    if stage.failed:
        count = len(stage.failed)
        stage.console.print(Text(f"{count} checks failed; all traces are in {stage.home}", "bold red"))
        for text in stage.failed:
            stage.say(f"  {text}")
        return 1
    stage.console.print(Text("Every check of the story held.", "bold green"))
    if keep:
        stage.say(f"kept: {stage.home}")
    else:
        shutil.rmtree(stage.home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
