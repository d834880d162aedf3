"""Starts our programs so that they find our packages first, whatever files the user has.

Python searches the working directory and the folders in PYTHONPATH before the standard library. A user's
`classifier.py`, `signal.py` or `numpy.py` there would replace ours, the standard library's or an installed one. So
every program of ours begins here: the commands call `consumer` or `classifier`; processes that we start run this
file (consumer/runners/programs/own_python.py). It uses only modules that Python has loaded before it searches any
folder.
"""

import os
import sys

#: The folder that holds our packages, whether they are installed or not.
PACKAGES = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib may be the user's here


def search_user_folders_last() -> None:
    """Move the folders that Python has put before the standard library to the end of `sys.path`."""
    library = (
        f"python{sys.version_info[0]}{sys.version_info[1]}.zip"  # its first entry, even where it does not exist
    )
    count = next((number for number, folder in enumerate(sys.path) if folder.endswith(library)), 0)
    sys.path[:] = dict.fromkeys([*sys.path[count:], PACKAGES, *sys.path[:count]])


def consumer() -> None:
    """Run the command `consumer` and exit with its code."""
    search_user_folders_last()
    from consumer.cli.main import main  # noqa: PLC0415 - the user's until here

    main()


def classifier() -> int:
    """Run the command `classifier`; return its exit code."""
    search_user_folders_last()
    from classifier.cli import main  # noqa: PLC0415 - the user's until here

    return main()


def run_module() -> None:
    """Run a module as `python -m` does: `python -P FILE PYTHONPATH MODULE ARGUMENT...`.

    The user's PYTHONPATH is an argument, because Python imports from the variable's folders before this file runs.
    """
    path, module, *arguments = sys.argv[1:]
    search_user_folders_last()
    if path:
        os.environ["PYTHONPATH"] = path  # for programs that the user's code starts
        folders = [os.path.abspath(folder) for folder in path.split(os.pathsep)]  # noqa: PTH100 - as above
        sys.path[:] = dict.fromkeys([*sys.path, *folders])
    import runpy  # noqa: PLC0415 - the user's until here

    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_module()
