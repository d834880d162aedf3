"""Signals and data sets, from files to feature vectors. Knows nothing about models.

signals.py    what a signal is: 1 to 100,000 finite numbers
waveform.py   a signal prepared for its features
features.py   signal → feature vector
datasets.py   signals with labels; the reader of each file suffix; writes CSV
formats.py    file formats of signals
text_file.py  text files of unknown origin as lines
tables.py     delimited text as rows of cells
layout.py     which column is the label, a sample or an index
headers.py    whether the first line names the columns
indexes.py    columns that number lines or describe signals
arrays.py     signals in numpy archives
machines.py   generated signals of an electric machine
"""
