"""The `classifier` command among modules that stand in for libraries: a missing one, or one that fails.

The command itself looks in the working directory last, and so never finds them.
"""

#: Arguments of Python: the working directory comes first, as always with `-c`.
REPLACED_FIRST = ("-c", "import sys; from classifier.cli import main; sys.exit(main())")
