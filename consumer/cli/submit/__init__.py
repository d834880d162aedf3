"""`consumer submit`: jobs out of files, results into a file. Built on the client (consumer/client).

command.py     the arguments, and which jobs have no result yet
sources.py     jobs from files; signals by way of `classifier jobs` (classifier/signals/datasets.py)
submission.py  publishes the jobs and collects the results
results.py     results as lines of a file, resumable
bars.py        progress bars on a terminal
"""
