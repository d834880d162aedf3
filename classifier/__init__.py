"""What runs in the child: the contract's SDK, and a scikit-learn classifier of signals that keeps the contract.

Imports nothing of `consumer/`. A package imports only from those below it:

cli.py, __main__.py  the command `classifier`, and the program of the contract
commands.py          what each command of `classifier` does
training/            fits and evaluates models
classify.py          one job → one answer (public)
models/              model files: format, trust, the folder that serves them
signals/             signals and data sets, from files to features
child/               runs around user code in a forked process; standard library only
contract.py          what an author of a classifier calls (public); standard library only
result_json.py       a result as JSON, or the place of the fault in it
json_types.py        one step from a value to its natural JSON
jobs_file.py         jobs from JSON and JSON lines files
errors.py            errors of the command
"""
