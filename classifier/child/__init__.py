"""The programs of the processes that run classifiers: the fork server, its workers, and the launcher.

These modules use the standard library only, and import neither numpy nor scikit-learn. The fork server imports the
user's module and forks workers. It runs no jobs, handles one request at a time, and ends when its socket closes.

fork_server.py  imports the classifier once, then forks workers on request
worker.py       one forked worker: runs job after job, keeps the contract
launcher.py     starts a slot's programs, and ends the processes that each leaves behind
forking.py      forks and reaps on requests over a socket
confinement.py  sets what the kernel enforces: limits, parent death signal, subreaper
loading.py      loads the user's function, and calls `preload`
fingerprint.py  identifies the code and the models that were loaded, by digests
user_module.py  imports the user's module, or explains why another module of that name was found
descriptors.py  finds descriptors that the import left open, and reopens files in each worker
shared_state.py finds other state that all workers share: mapped memory, running processes
randomness.py   gives each worker its own random numbers
huge_pages.py   moves the fork server's memory into huge pages, so that a fork copies less
ending.py       ends a worker as Python ends a program: `atexit` handlers, buffered files
"""
