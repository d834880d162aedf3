"""Model files: their content, which may be loaded, and which one a job gets.

trust.py finds the pin of a file before any other code reads the file. Each file is opened once (whole_file.py), so
the bytes that were checked are the bytes that are loaded.

model.py       one file: format line, manifest, body
estimators.py  the kinds of body, and how each becomes an estimator again
skops_file.py  a skops body: an estimator as data
trust.py       which files may be loaded: their SHA-256 is pinned
folder.py      the models folder, and the model that a job names
whole_file.py  reads and replaces a file in one piece
"""
