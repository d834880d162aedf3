"""Runs each job in a slot, in a process of its own, and returns its outcome. Knows nothing about RabbitMQ.

The processes:

    consumer ──▶ launcher (one per slot) ──▶ a program per job          the exec runner
    consumer ──▶ fork server ──▶ worker (one per slot) runs job by job  the warm runner

    * The consumer starts launchers and fork servers (fork_client.py). It reads the output of every program and
      worker through pipes that it passes to them.
    * Only the process that forked a child may reap it, so the consumer requests `fork` and `reap` over a socket.
      The consumer asks for the reap only after it has signalled the child's process group. Until the reap, the
      kernel gives the child's pid to no other process.
    * The consumer kills: it signals the process group of a job that exceeds a limit (run.py, resource_monitor.py).
    * A launcher or worker is a subreaper: processes that a job leaves behind become its children, and are killed
      when the job ends.
    * When the consumer closes its socket, a launcher or a fork server ends, and all its children end with it.

runner.py            opens the kind of runner that the settings select, with its pool of slots
pool.py              a fixed number of slots, each with one job at most, and the line of jobs that wait for one
batch_pool.py        the pool for batches: several waiting jobs share a slot
run_times.py         measures how long slots are held, and how many jobs to run together
warm_runner.py       the warm runner: a job's file, limits and worker; workers are forked from a preloaded process
worker_pool.py       keeps a worker ready for each slot and replaces workers that ended
worker.py            one worker, and a run in it: executes the run; its memory counts from the worker's fork
exec_runner.py       the exec runner: a job's file and limits; a new program per job
launcher.py          one slot's launcher: executes a run of one program
run.py               one run: its output, the first cause that ends it, and its outcome
batch_run.py         a run of several jobs at once in a worker
child.py             a child process at the head of its own group: reads its output, notices its end, kills it
output_parser.py     bytes of stdout in, contract lines out
answer.py            turns an OUTPUT: or ERROR: line into an outcome; describes exits
fork_server.py       the consumer's side of the fork server
fork_client.py       starts a launcher or fork server, requests `fork` and `reap` from it, and ends it
resource_monitor.py  samples the usage of each job, kills a job that exceeds a limit
procfs.py            reads Linux's process table: the usage of a process, and what it had used before its job
environment.py       the environment of a classifier: an allow-list
sandbox.py           the command line of bubblewrap
programs/            checks at the start of the consumer that the program can be started
files/               job files and job folders
"""
