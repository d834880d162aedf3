"""Reads README.md and the pages of docs/ for tests. It runs none of their commands.

pages.py         finds the blocks of code and the tables of a page by their ids, and its headings and links
site.py          runs `make docs`, and extracts the visible content of an HTML page
shown_output.py  compares the output of a command with the output that a page shows
"""
