"""Runs one job by the contract: `python -m classifier JOB.json` uses the classifier that comes with the service.

`python -m classifier --call package.module:function JOB.json` imports and runs another function. If that import
fails, the traceback goes to stderr and the exit code is 1: the job is not at fault, and its outcome is `crashed`.
All other arguments are those of the `classifier` command. Each import is in the function that needs it, so that
reading the arguments does not load scikit-learn.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # before all other imports, because `python -m` searches the user's folders first
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    import rabbitmq_classifier

    rabbitmq_classifier.search_user_folders_last()

from typing import Any

from classifier import contract, tracebacks

EXIT_NOT_LOADED = 1
EXIT_USAGE = 2


def main() -> int:
    match sys.argv[1:]:
        case [job] if not job.startswith("-"):
            contract.run(_own_classifier, job)
            return 0
        case ["--call", target, job]:
            return _call(target, job)
        case arguments:
            from classifier import cli  # noqa: PLC0415 - see the module's docstring

            return cli.main(arguments)


def _own_classifier(job: dict[str, Any]) -> object:
    from classifier.classify import classify  # noqa: PLC0415 - see the module's docstring

    return classify(job)


def _call(target: str, job: str) -> int:
    module, separator, name = target.partition(":")
    if not (module and separator and name) or module.endswith(".py") or "/" in module:
        form = "with dots, without slashes and .py"
        sys.stderr.write(f"--call needs package.module:function, {form}, and {target!r} is not of that form\n")
        return EXIT_USAGE
    from classifier.child import loading  # noqa: PLC0415 - see the module's docstring

    try:
        found = loading.find(target)
        if found.on_worker_start:
            found.on_worker_start()
    except contract.LoadError as refused:
        sys.stderr.write(f"{refused}\n")
        return EXIT_NOT_LOADED
    except Exception as raised:  # noqa: BLE001 - user code may raise anything while it is imported
        sys.stderr.write(tracebacks.of_user(raised))
        return EXIT_NOT_LOADED
    contract.run(found.function, job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
