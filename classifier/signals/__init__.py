"""Reads signals and data sets from files, and computes their feature vectors. Knows nothing about models.

signals.py    defines and checks a signal: 1 to 100,000 finite numbers
waveform.py   prepares a signal for its features
features.py   computes the feature vector of a signal
datasets.py   signals with labels; chooses the reader by the file's suffix; writes CSV
formats.py    reads file formats of signals
text_file.py  reads text files of unknown origin as lines
tables.py     reads delimited text as rows of cells
layout.py     determines which columns are the label, samples or an index
headers.py    determines whether the first line names the columns
indexes.py    refuses columns that number lines or describe signals
arrays.py     reads signals in numpy archives
machines.py   generates signals of an electric machine
"""
