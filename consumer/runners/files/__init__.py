"""Job files and the private folder that holds them. Everything here is removed, whatever happens.

job_files.py  the job folder: one folder per slot, mode 0700
room.py       writes a job's files when there is room, removes them without blocking the event loop
removal.py    removes a folder in bounded steps, however many files it has
"""
