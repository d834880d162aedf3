"""Job files and the private folder that holds them. All files are removed in every case.

job_files.py   this process's folder below `job_dir`, with a folder for each slot
job_folder.py  one slot's folder: writes a job's files once there is space, empties it after the job
removal.py     removes a folder with any number of files, in bounded steps or in a thread
"""
