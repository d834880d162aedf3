"""The command `consumer`: reads arguments and settings, starts one thing, turns errors into exit codes.

Every setting is a flag of the same name. An error that somebody can act on is one sentence on stderr and the
exit code of its class (errors.py); a traceback means a bug. Nothing else here.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from consumer._version import VERSION
from consumer.cli import dead_letters as dead_letters_command
from consumer.cli import demo, plan, process_hardening, status, submit, try_
from consumer.config import loader
from consumer.config.amqp_url import split_urls, vhost_of
from consumer.config.settings import Settings
from consumer.errors import EXIT_JOBS_FAILED, ConfigurationError, ConsumerError
from consumer.escaping import escaped_lines
from consumer.local_broker import node as local_broker
from consumer.local_broker.files import DEFAULT_DIR
from consumer.preflight.checks import examine
from consumer.preflight.finding import Finding, as_json, shown, summary, would_run
from consumer.rabbitmq.console import Console
from consumer.runners.files.job_files import JobFiles
from consumer.service.service import serve
from consumer.telemetry import health_client, log_format
from consumer.wire import asyncapi

log = logging.getLogger("consumer")

T = TypeVar("T")

#: `check` has found a failure; warnings are none.
EXIT_WOULD_FAIL = 1
#: As `systemctl status` says it, and the LSB before it: program is not running.
EXIT_NOT_RUNNING = 3
#: What a shell shows for a program that Ctrl-C ended.
EXIT_INTERRUPTED = 130
#: The same for one that went on to write to a pipe that nobody reads.
EXIT_NOT_READ = 141


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = parser().parse_args(argv)
    log_format.install(arguments.log_level)
    process_hardening.hide_process()
    for library in ("aio_pika", "aiormq", "asyncio"):  # their warnings repeat what we say in our own words
        logging.getLogger(library).setLevel(max(logging.ERROR, logging.getLogger().level))
    # Each attempt to connect that fails is an error there; of ours the log tells some (supervisor.py).
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
    try:
        sys.exit(arguments.command(arguments))
    except ConsumerError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        sys.exit(EXIT_NOT_READ)
    except Exception:  # a bug: Python's own exit code would be 1, which here means that jobs failed
        log.exception("this is a bug in the consumer; please report it", extra={"event": "bug"})
        sys.exit(os.EX_SOFTWARE)


def _complain(fault: str) -> None:
    """A sentence for people; a record where nothing but records is expected."""
    if log_format.is_for_machines():
        log.critical("%s", fault, extra={"event": "failed"})
    else:
        print("consumer: " + "\n".join(escaped_lines(fault, log_format.MAX_CHARACTERS)), file=sys.stderr)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop: on asyncio's own loop the consumer takes a third more CPU per job (444 us against 339)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def parser() -> argparse.ArgumentParser:
    """Describe all commands and flags."""
    top = argparse.ArgumentParser(prog="consumer", description="Runs classification jobs from a RabbitMQ queue.")
    top.add_argument(
        "--log-level",
        type=str.upper,
        default="INFO",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        help="default: INFO",
    )
    top.add_argument("--version", action="version", version=f"consumer {VERSION}", help="print the version")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="take jobs until SIGTERM or Ctrl-C")
    command.set_defaults(command=run_service)
    _add_settings(command)

    command = commands.add_parser("health", help="ask the consumer that runs here how it is, for probes")
    command.set_defaults(command=health_client.health)
    health_client.add_arguments(command)

    command = commands.add_parser("try", help="run one job here, without RabbitMQ, and tell what happens")
    command.set_defaults(command=try_job)
    try_.describe(command, _add_settings)

    command = commands.add_parser("plan", help="how many slots and consumers a latency target needs")
    command.set_defaults(command=plan_slots)
    plan.describe(command, _add_settings)

    command = commands.add_parser("check", help="find what would fail later, without changing anything")
    command.set_defaults(command=check)
    command.add_argument("--job", type=Path, metavar="JOB.json", help="a job to run here, without RabbitMQ")
    command.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    _add_settings(command)

    command = commands.add_parser("submit", help="publish jobs and wait for their replies")
    command.set_defaults(command=submit_jobs)
    submit.describe(command, _add_settings)

    _describe_gateway(commands)

    command = commands.add_parser("status", help="queues, consumers, rates: what RabbitMQ knows of the service")
    command.set_defaults(command=show_status)
    status.describe(command, _add_settings)

    command = commands.add_parser("dead-letters", help="look at what failed, try it again, or delete it")
    command.set_defaults(command=dead_letters)
    dead_letters_command.describe(command, _add_settings)

    command = commands.add_parser("asyncapi", help="print the contract with producers as an AsyncAPI 3 document")
    command.set_defaults(command=publish_contract)
    command.add_argument(
        "--schemas", type=Path, metavar="DIR", help="also write JSON Schemas of job, reply and error record there"
    )
    _add_settings(command)

    command = commands.add_parser("local-broker", help="a private RabbitMQ node in this folder")
    command.set_defaults(command=private_node)
    command.add_argument("action", choices=("up", "down", "status"), help="start it, stop it, say where it is")
    command.add_argument("--data", type=Path, default=DEFAULT_DIR, help="its folder; default: .local-broker")

    command = commands.add_parser("demo", help="everything once: broker, model, consumer, jobs, dead letters")
    command.set_defaults(command=run_demo)
    _add_settings(command)
    return top


def _describe_gateway(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("gateway", help="take jobs by HTTP, for callers that have no AMQP")
    command.set_defaults(command=run_gateway)
    command.add_argument("--openapi", action="store_true", help="only print its contract, an OpenAPI document")
    _add_settings(command)


def _add_settings(command: argparse.ArgumentParser) -> None:
    """Add a flag for each setting. Only those given count, so that the others' sources do."""
    group = command.add_argument_group("settings", "each also as CONSUMER_<NAME>, or in the file of --config")
    group.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; also CONSUMER_CONFIG")
    for name, field in Settings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%")
        group.add_argument(flag, dest=f"setting_{name}", default=argparse.SUPPRESS, metavar="VALUE", help=text)


def _settings(arguments: argparse.Namespace) -> Settings:
    try:
        return _load(arguments)
    finally:  # in the format that was chosen
        for warning in loader.unknown_variables(os.environ):
            log.warning(warning, extra={"event": "setting_unknown"})


def _load(arguments: argparse.Namespace) -> Settings:
    prefix = "setting_"
    given = {
        name.removeprefix(prefix): value for name, value in vars(arguments).items() if name.startswith(prefix)
    }
    chosen = loader.load(given, os.environ, arguments.config)
    log_format.choose(chosen.log_format)
    return chosen


def run_service(arguments: argparse.Namespace) -> int:
    """`consumer run`."""
    chosen = _settings(arguments)
    _see_job_folder(chosen)
    with _broker_urls(chosen) as urls:
        run_async(serve(chosen, urls))
    return os.EX_OK


def run_gateway(arguments: argparse.Namespace) -> int:
    """`consumer gateway`."""
    chosen = _settings(arguments)
    try:
        from consumer.gateway.app import application  # noqa: PLC0415 - an extra; half a second of imports
        from consumer.gateway.server import serve as answer  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"the gateway needs what is not installed ({error.name}): pip install 'rabbitmq-classifier[http]'"
        ) from None
    if arguments.openapi:
        print(asyncapi.text(application().openapi()), end="")
        return os.EX_OK
    with _broker_urls(chosen) as urls:
        run_async(answer(chosen, urls))
    return os.EX_OK


def _see_job_folder(chosen: Settings) -> None:
    """See that job files can be written, before a private node is started for nothing.

    With a RabbitMQ of the user's the service finds out by itself, ready for signals.
    """
    if not chosen.amqp_urls:
        JobFiles.open(chosen.job_dir).close()


@contextmanager
def _broker_urls(chosen: Settings) -> Iterator[Sequence[str]]:
    """The configured URLs, or that of a private node, which is stopped again if it was started here."""
    if chosen.amqp_urls:
        for url in chosen.amqp_urls:
            chosen.credentials.check(url)
        yield chosen.amqp_urls
        return
    log.info(
        "amqp_url (CONSUMER_AMQP_URL) is not set: using a private RabbitMQ node in %s",
        DEFAULT_DIR,
        extra={"event": "private_node_used"},
    )
    was_up = local_broker.status(DEFAULT_DIR) is not None
    node = local_broker.up(DEFAULT_DIR, report=log.info)
    # No log record, as it shows the password; the node is private, and these lines are what it is for.
    print(f"{node.describe()}\n{_example(node.amqp_url, chosen)}", file=sys.stderr)
    try:
        yield [node.amqp_url]
    finally:
        if not was_up:
            log.info("stopping the private RabbitMQ node", extra={"event": "private_node_stopping"})
            local_broker.down(DEFAULT_DIR)


def _example(url: str, chosen: Settings) -> str:
    """One line that publishes a job, and one that fetches its reply, with Debian's amqp-tools."""
    topology = chosen.topology
    job = '{"signal": [0, 1, 0, -1]}'
    return (
        f"publish one: amqp-publish --url={url} --routing-key={topology.jobs} --body='{job}'\n"
        f"its reply:   amqp-get --url={url} --queue={topology.results}"
    )


def try_job(arguments: argparse.Namespace) -> int:
    """`consumer try`."""
    return run_async(try_.run(arguments, _settings(arguments)))


def plan_slots(arguments: argparse.Namespace) -> int:
    """`consumer plan`."""
    return plan.run(arguments, _settings(arguments))


def check(arguments: argparse.Namespace) -> int:
    """`consumer check`."""
    findings = run_async(_checked(arguments))
    print(as_json(findings) if arguments.json else summary(findings))
    return os.EX_OK if would_run(findings) else EXIT_WOULD_FAIL


async def _checked(arguments: argparse.Namespace) -> list[Finding]:
    findings = []
    async for finding in examine(lambda: _load(arguments), os.environ, arguments.job):
        findings.append(finding)
        if not arguments.json:
            print(shown(finding), flush=True)
    return findings


def _known_url(chosen: Settings) -> str:
    """The configured URLs, or that of the private node that `consumer run` has started in this folder."""
    if chosen.amqp_urls:
        return " ".join(chosen.amqp_urls)
    node = local_broker.status(DEFAULT_DIR)
    if node is None:
        raise ConfigurationError(
            f"no RabbitMQ to go to: set CONSUMER_AMQP_URL, or start one with `consumer run` "
            f"or `consumer local-broker up` in this folder (no node runs in {DEFAULT_DIR})"
        )
    return node.amqp_url


def submit_jobs(arguments: argparse.Namespace) -> int:
    """`consumer submit`."""
    chosen = _settings(arguments)
    return run_async(submit.run(arguments, chosen, lambda: _known_url(chosen)))


def show_status(arguments: argparse.Namespace) -> int:
    """`consumer status`."""
    chosen = _settings(arguments)
    url = _known_url(chosen)
    console = Console.of(chosen, split_urls(url)[0])  # nodes of one cluster have one login
    if console is None and not chosen.amqp_urls and (node := local_broker.status(DEFAULT_DIR)):
        console = Console(node.management_url, node.user, node.password, vhost=vhost_of(url), tls=None)
    return run_async(status.run(arguments, chosen, url, console))


def dead_letters(arguments: argparse.Namespace) -> int:
    """`consumer dead-letters`."""
    chosen = _settings(arguments)
    return run_async(dead_letters_command.run(arguments, chosen, _known_url(chosen)))


def publish_contract(arguments: argparse.Namespace) -> int:
    """`consumer asyncapi`."""
    chosen = _settings(arguments)
    if arguments.schemas is not None:
        _write_schemas(arguments.schemas)
    topology = chosen.topology
    print(asyncapi.text(asyncapi.document(topology, VERSION)), end="")
    return os.EX_OK


def _write_schemas(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in asyncapi.schemas().items():
            (folder / f"{name}.json").write_text(asyncapi.text(schema), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None


def private_node(arguments: argparse.Namespace) -> int:
    """`consumer local-broker`."""
    match arguments.action:
        case "up":
            print(local_broker.up(arguments.data, report=log.info).describe())
        case "down":
            print("stopped" if local_broker.down(arguments.data) else "no node was running")
        case _:
            node = local_broker.status(arguments.data)
            print(node.describe() if node else f"no node runs in {arguments.data}")
            return os.EX_OK if node else EXIT_NOT_RUNNING
    return os.EX_OK


def run_demo(arguments: argparse.Namespace) -> int:
    """`consumer demo`."""
    chosen = _settings(arguments)
    _see_job_folder(chosen)
    with _broker_urls(chosen) as urls:
        succeeded = demo.run(chosen, urls[0])
    print("\nDone: all went as it should." if succeeded else "\nSomething above is not as it should be.")
    return os.EX_OK if succeeded else EXIT_JOBS_FAILED
