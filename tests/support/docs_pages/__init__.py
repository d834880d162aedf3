"""The README and the pages of docs/, as tests read them; nothing here runs what they show.

pages.py          a page's blocks of code and tables by their ids, its headings and links
site.py           the site that `make docs` builds from them; a page as a browser would show it
shown_output.py   what a command says, compared with what a page shows
"""
