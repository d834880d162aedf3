"""Runs around user code in the processes of the service.

Standard library only; imports neither numpy nor scikit-learn. The fork server only imports and forks: it never
computes, handles one request at a time, and ends when its socket closes.

fork_server.py  imports the classifier once, then forks workers on request
worker.py       one forked worker: runs job after job, keeps the contract
launcher.py     starts a slot's programs, and ends what each leaves behind
forking.py      fork and reap on request, over a socket
confinement.py  what the kernel enforces: limits, parent death signal, subreaper
loading.py      imports the user's module: function, `preload`, `on_worker_start`
user_module.py  ... or says why another module of that name was found
descriptors.py  what the import left open, and what each worker reopens
shared_state.py what else the import leaves to all workers: mapped memory, running processes
randomness.py   random numbers of its own for each worker
ending.py       ends a worker as Python ends a program: `atexit` handlers, buffered files
"""
