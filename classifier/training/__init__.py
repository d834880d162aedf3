"""Fits a classifier, evaluates it, and writes it to a file. A process that serves jobs never imports this package.

train.py          fits and evaluates
train_command.py  runs `classifier train`, and writes its files
conversion.py     converts a fitted estimator to ONNX
report.py         formats figures as text
plot.py           draws figures
"""
