"""`consumer demo`: the whole service once, on a signal generator, in about a minute.

Trains a model, starts a consumer, submits good and bad jobs, shows the answers and the dead letters, and stops.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from consumer.cli.arguments import add_settings, settings_of
from consumer.cli.broker_url import broker_urls
from consumer.cli.submit.bars import Bars
from consumer.cli.submit.results import SourceResult
from consumer.cli.submit.sources import Source
from consumer.cli.submit.submission import submit
from consumer.client.client import Client
from consumer.config.settings import Settings
from consumer.dead_letters.error_records import read_error_records
from consumer.errors import EXIT_JOBS_FAILED, ConsumerError
from consumer.runners.files.job_files import JobFiles
from consumer.runners.programs import own_python
from consumer.wire.write import ErrorRecord

EXAMPLES = ("consumer demo", "consumer demo --amqp-url amqp://localhost")
TRAIN_PER_CLASS = 40
#: Ten states, so thirty jobs: a program per job takes about two seconds of CPU, most of it scikit-learn's import.
JOBS_PER_CLASS = 3
READY = "ready:"
POLL_S = 0.1
STOP_TIMEOUT_S = 60.0
JOB_TIMEOUT_S = 300.0

BAD_JOBS = {
    "no JSON": b"this is no JSON",
    "no object": b"[1, 2, 3]",
    "no signal": b'{"model": "machines"}',
    "empty signal": b'{"signal": []}',
    "NaN in it": b'{"signal": [1.0, NaN, 3.0]}',
    "text in it": b'{"signal": [1.0, "two", 3.0]}',
    "unknown model": b'{"signal": [1.0, 2.0], "model": "toaster"}',
}


def describe(command: argparse.ArgumentParser) -> None:
    """Add the settings."""
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo under a prefix of its own; return the exit code."""
    settings = settings_of(arguments)
    own = settings.model_copy(update={"prefix": f"{settings.prefix}-demo"})
    # The job folder first: a private node is not started in vain.
    with JobFiles.open(settings.job_dir) as files, broker_urls(settings) as urls:
        succeeded = Demo(own, urls[0], files.home(), Console()).run()
    print(
        "\nDone: everything worked as expected." if succeeded else "\nFailed: something above is not as expected."
    )
    return os.EX_OK if succeeded else EXIT_JOBS_FAILED


@dataclass(frozen=True)
class Demo:
    """One run of the demo: its settings, the URL of its RabbitMQ, the folder of its files, and its console."""

    settings: Settings
    url: str
    folder: Path
    console: Console

    def run(self) -> bool:
        """Go through all steps; return whether each ended as it should."""
        self._step("Training a model on generated machine currents")
        self._train()
        jobs = self._jobs()
        with self._consumer():
            self._step(f"Submitting {len(jobs)} good jobs and {len(BAD_JOBS)} bad ones")
            bad_jobs = [Source(name, body) for name, body in BAD_JOBS.items()]
            results = asyncio.run(self._submit([*jobs, *bad_jobs]))
        records = asyncio.run(read_error_records(self.url, self.settings.topology, self.settings.credentials))
        good = self._show_answers(results[: len(jobs)])
        bad = self._show_dead_letters(results[len(jobs) :], records)
        return good and bad

    @property
    def _environment(self) -> dict[str, str]:
        """The variables of the demo's processes: with models and pins of their own, not those the user trusts."""
        return {
            **own_python.without_path(os.environ),
            "CONSUMER_MODELS_DIR": str(self.folder / "models"),
            "CONSUMER_TRUSTED_MODELS": str(self.folder / "models.trusted"),
        }

    def _step(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    def _print(self, text: str) -> None:
        self.console.print(text.strip(), highlight=False, markup=False)

    def _classifier(self, *arguments: str | Path) -> bytes:
        """Run a command of the classifier; return what it prints on stdout."""
        command = own_python.command("classifier", *map(str, arguments), path=os.environ.get("PYTHONPATH", ""))
        done = subprocess.run(command, env=self._environment, check=True, stdout=subprocess.PIPE)  # noqa: S603 - ours
        return done.stdout

    def _train(self) -> None:
        train, test = self.folder / "train.csv", self.folder / "test.csv"
        self._classifier("generate", "--out", train, "--per-class", str(TRAIN_PER_CLASS), "--seed", "1")
        self._classifier("generate", "--out", test, "--per-class", str(JOBS_PER_CLASS), "--seed", "2")
        self._print(self._classifier("train", train, "--out", self.folder / "models" / "machines").decode())

    def _jobs(self) -> list[Source]:
        """Make jobs of the test signals. Each carries its label as `expected`, which the classifier ignores."""
        lines = self._classifier("jobs", self.folder / "test.csv", "--labels").splitlines()
        return [Source(f"signal {number}", line) for number, line in enumerate(lines, start=1)]

    @contextmanager
    def _consumer(self) -> Iterator[None]:
        """Run `consumer run` as a process of its own, from ready to stopped by SIGTERM."""
        self._step("Starting the consumer")
        files = ("amqp_password_file", "amqp_ca_file", "amqp_cert_file", "amqp_key_file")
        handed_on = {name: getattr(self.settings, name) for name in ("prefix", "job_dir", *files)}
        environment = {
            **self._environment,
            "CONSUMER_AMQP_URL": self.url,
            **{f"CONSUMER_{name.upper()}": str(value) for name, value in handed_on.items() if value},
        }
        command = own_python.command("consumer", "run", path=os.environ.get("PYTHONPATH", ""))
        log = self.folder / "consumer.log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=environment, stderr=file)  # noqa: S603 - our own command
        try:
            while process.poll() is None and READY not in log.read_text(errors="replace"):
                time.sleep(POLL_S)
            text = log.read_text(errors="replace")
            if READY not in text:
                raise ConsumerError(f"the consumer did not start:\n{text}")
            self._print(text.splitlines()[-1])
            yield
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
            self._step(f"Stopped the consumer with SIGTERM: exit code {process.returncode}")

    async def _submit(self, sources: list[Source]) -> list[SourceResult]:
        """Return the results in the order of the sources."""
        queue, credentials = self.settings.topology.jobs, self.settings.credentials
        results: dict[int, SourceResult] = {}
        with Bars.shown(len(sources), Console(stderr=True)) as bars:

            def record(index: int, result: SourceResult) -> None:
                results[index] = result
                bars.ended(index, succeeded=result.succeeded)

            async with Client.open(self.url, queue=queue, credentials=credentials) as client:
                await submit(client, sources, record, timeout_s=JOB_TIMEOUT_S)
        return [results[index] for index in range(len(sources))]

    def _show_answers(self, results: list[SourceResult]) -> bool:
        """Show a row for each good job; return whether all were answered."""
        table = Table("job", "truth", "answer", "probability", "verdict", title="Answers")
        right = 0
        for result in results:
            truth = json.loads(result.source.body)["expected"]
            output = result.reply.output if result.reply and result.succeeded else {}
            answer = output.get("label", "(none)")
            probability = f"{output['probabilities'][answer]:.2f}" if output else ""
            right += answer == truth
            table.add_row(result.source.name, truth, answer, probability, "right" if answer == truth else "wrong")
        self.console.print(table)
        self._print(f"accuracy {right / len(results):.2f} ({right} of {len(results)})")
        return all(result.succeeded for result in results)

    def _show_dead_letters(self, results: list[SourceResult], records: list[ErrorRecord]) -> bool:
        """Show a row for each bad job; return whether each has a reply and a record with the same code."""
        table = Table("job", "code", "reason", title=f"Dead letters in {self.settings.topology.dead}")
        found = {record.job_id: record for record in records}
        complete = True
        for result in results:
            record = found.get(result.reply.job_id) if result.reply else None
            error = result.reply.error if result.reply else None
            complete &= record is not None and error is not None and record.code == error.code
            shown = (record.code, record.message) if record else ("none", "no record")
            table.add_row(result.source.name, *shown)
        self.console.print(table)
        return complete
