"""Job files and the private folder that holds them. Everything here is removed, whatever happens.

job_files.py   this process's folder below `job_dir`, with a folder for each slot
job_folder.py  one slot's folder: writes a job's files when there is room, empties it after the job
removal.py     removes a folder in bounded steps, however many files it has, or in a thread
"""
