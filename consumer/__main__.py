"""The command `consumer`, also as `python -m consumer`.

A probe runs `consumer health` every few seconds, so that command does not import the others: this takes 0.2 s of
CPU instead of 0.4.
"""

import os
import sys

if __name__ == "__main__":  # before anything else is imported: `python -m` searches the working directory first
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    import rabbitmq_classifier

    rabbitmq_classifier.search_user_folders_last()


def main() -> None:
    """Run the command and exit with its code."""
    if sys.argv[1:2] == ["health"]:
        from consumer.cli import health  # noqa: PLC0415 - see above

        health.main(sys.argv[2:])
    from consumer.cli import main as cli  # noqa: PLC0415 - see above

    cli.main()


if __name__ == "__main__":
    main()
