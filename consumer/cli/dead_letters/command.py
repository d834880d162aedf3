"""`consumer dead-letters`: parses the arguments of its four actions."""

from __future__ import annotations

import argparse
from contextlib import suppress

import uvloop

from consumer.cli.arguments import add_settings, refusal, settings_of, whole
from consumer.cli.broker_url import known_url
from consumer.cli.dead_letters.change import purge, replay
from consumer.cli.dead_letters.show import list_letters, show_letter
from consumer.cli.say import say
from consumer.config import units
from consumer.dead_letters.operations import LetterQueue
from consumer.job import ErrorCode
from rabbitmq_classifier_cli import sentence

EXAMPLES: tuple[str, ...] = ()  # each action has its own
#: RabbitMQ's words; `maxlen` does not occur with the service's own queues.
REASONS = ("rejected", "expired", "delivery_limit", "maxlen")
#: More than a queue contains; a larger number is a typing error.
MAX_LIMIT = 1_000_000_000
_ALL = ("list", "replay", "purge")
#: Each action with its purpose and two examples.
_ACTIONS = {
    "list": (
        "list the dead letters and why they failed",
        ("consumer dead-letters list", "consumer dead-letters list --code timed_out --newer-than 2h --json"),
    ),
    "show": (
        "show why one job failed, and all facts of its dead letter",
        ("consumer dead-letters show ID", "consumer dead-letters show ID --body > job.json"),
    ),
    "replay": (
        "requeue dead letters as new jobs with a fresh attempt count",
        ("consumer dead-letters replay --id ID", "consumer dead-letters replay --code crashed --dry-run"),
    ),
    "purge": (
        "delete dead letters for good, after confirmation",
        ("consumer dead-letters purge --older-than 7d", "consumer dead-letters purge --all --yes"),
    ),
}


def describe(command: argparse.ArgumentParser) -> None:
    """Add the four actions to the command."""
    actions = command.add_subparsers(required=True, metavar="ACTION", title="actions", dest="action")
    made = {
        name: actions.add_parser(name, help=about, description=sentence(about), examples=examples)
        for name, (about, examples) in _ACTIONS.items()
    }
    for name in _ALL:
        _add_selection(made[name], is_named=name != "list")
    made["show"].add_argument("id", metavar="ID", help="id of the job, as `list` shows it")
    made["show"].add_argument(
        "--body",
        action="store_true",
        help="only write the whole body to standard output, byte for byte, with gzip unpacked",
    )
    group = made["replay"].add_mutually_exclusive_group()
    group.add_argument("--reply-to", metavar="QUEUE", help="queue for the replies; default: that of each job")
    group.add_argument(
        "--no-reply-to", action="store_true", help="drop reply_to, so that the replies go to <prefix>.results"
    )
    made["purge"].add_argument("--yes", action="store_true", help="do not ask for confirmation")
    for action in made.values():
        add_settings(action)


def _add_selection(action: argparse.ArgumentParser, *, is_named: bool) -> None:
    which = action.add_argument_group(
        "selection", "repeat --id, --reason, --code or --model to allow several values"
    )
    which.add_argument(
        "--id", action="append", default=[], metavar="ID", help="id of the job, as `list` shows it; default: any"
    )
    which.add_argument(
        "--reason",
        action="append",
        default=[],
        choices=REASONS,
        help="why RabbitMQ dead-lettered it; default: any",
    )
    which.add_argument(
        "--code",
        action="append",
        default=[],
        choices=[*ErrorCode],
        metavar="CODE",
        help="error code in its error record, such as timed_out; default: any",
    )
    which.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="model that the job names; default: any"
    )
    which.add_argument("--older-than", type=_age, metavar="AGE", help="age, e.g. 90s, 15m, 2h, 7d; default: any")
    which.add_argument("--newer-than", type=_age, metavar="AGE", help="age, as above; default: any")
    which.add_argument(
        "--limit",
        type=whole(1, MAX_LIMIT),
        metavar="N",
        help="only the N oldest of the selected dead letters; default: all",
    )
    if is_named:
        which.add_argument(
            "--all", action="store_true", help="all dead letters; required if nothing else selects some"
        )
        action.add_argument("--dry-run", action="store_true", help="only list the selected dead letters")
    action.add_argument("--json", action="store_true", help="print one line of JSON for each dead letter")


def _age(text: str) -> float:
    """Read a time that has a unit: without one, 7 may mean seconds or days."""
    with suppress(ValueError):
        if text[-1:].isalpha() and (age_s := units.seconds(text)) >= 0:
            return age_s
    raise refusal(text, "an age, a number followed by s, m, h or d: 90s, 15m, 2h, 7d")


def run(arguments: argparse.Namespace) -> int:
    """Run the requested action; return the exit code."""
    settings = settings_of(arguments)
    place = LetterQueue(known_url(settings), settings.topology, settings.credentials, say)
    actions = {"list": list_letters, "show": show_letter, "replay": replay, "purge": purge}
    return uvloop.run(actions[arguments.action](arguments, place))
