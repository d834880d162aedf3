"""Code that runs in the child: the contract's SDK, and a scikit-learn classifier of signals.

It imports nothing from `consumer/`. A package imports only from those below it in this list:

cli.py, __main__.py  the command `classifier`, whose help names the formats of files; the program of the contract
commands.py          implements each command of `classifier`
training/            fits and evaluates models
classify.py          classifies a job (public)
models/              reads, writes and trusts model files, and chooses the model of a job
signals/             reads signals and data sets, and computes features
child/               runs user code in forked processes; standard library only
contract.py          functions for authors of classifiers (public); standard library only
tracebacks.py        formats tracebacks without the service's own frames
result_json.py       formats a result as JSON, or names the place of its fault
json_types.py        converts a value one step towards JSON
jobs_file.py         reads jobs from JSON and JSON lines files
errors.py            the errors of the command
"""
