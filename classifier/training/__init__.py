"""Fits a classifier, evaluates it, writes it to a file. Never imported while jobs are served.

train.py          fits and evaluates; no printing, no files
train_command.py  `classifier train`, from files to files
conversion.py     fitted estimator → ONNX
report.py         figures as text
plot.py           figures as a picture
"""
