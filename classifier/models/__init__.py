"""Reads and writes model files, decides which may be loaded, and chooses the model of a job.

trust.py finds the pin of a file before any other code reads the file. Each file is opened once (whole_file.py), so
the bytes that were checked are the bytes that are loaded.

model.py       reads and writes a file: format line, manifest, body
estimator.py   the interface of a fitted classifier
estimators.py  turns an estimator into a body of each kind, and back
onnx_file.py   runs an ONNX body, which holds an estimator as a graph
skops_file.py  writes and checks a skops body, which holds an estimator as data
trust.py       allows only files whose SHA-256 is pinned
folder.py      lists the models folder, and finds the model that a job names
whole_file.py  reads and replaces a file in one piece
"""
