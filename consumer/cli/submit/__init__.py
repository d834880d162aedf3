"""`consumer submit`: submits jobs from files, and writes the results to a file, through the client.

command.py     parses the arguments, and does the steps in their order
submit_run.py  one run: the jobs that it takes over, and what it leaves
alone.py       keeps a second run away from the same results
earlier.py     finds the results and jobs of earlier runs
sources.py     reads jobs from files; signals by way of `classifier jobs` (classifier/signals/datasets.py)
submission.py  publishes the jobs and collects the results
unanswered.py  keeps the jobs without a reply for a later run
summary.py     tells at the end how many jobs failed, why, and what is left
results.py     reads and writes results as lines of a file
bars.py        shows progress bars on a terminal
"""
