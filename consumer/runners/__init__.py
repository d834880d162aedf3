"""Job in, Outcome out. Runs each job in a slot, in a process of its own; knows nothing about RabbitMQ.

Which process starts, reads and ends which:

    consumer ──▶ launcher (one per slot) ──▶ a program per job          the exec runner
    consumer ──▶ fork server ──▶ worker (one per slot) runs job by job  the warm runner

    * The consumer starts launchers and fork servers (fork_client.py). It reads the output of every program and
      worker through pipes that it passes to them.
    * Only the process that forked a child may reap it, so the consumer asks for `fork` and `reap` over a socket.
      It reaps after the child's group was signalled: until then the child's number cannot be used again.
    * The consumer kills: it signals the process group of a job that exceeds a limit (run.py, resource_monitor.py).
    * A launcher or worker is a subreaper: what a job leaves behind becomes its child, and is killed when
      the job ends.
    * A launcher and a fork server end with the consumer's socket, and all their children with them.

runner.py            the runner: a pool of slots, of the kind that the settings choose
pool.py              a fixed number of slots, each with one job at most; which of them are overdue
batch_pool.py        the pool where several waiting jobs share a slot
warm_runner.py       the warm runner: a job's file, limits and worker; workers are forked from a preloaded process
worker_pool.py       keeps a worker ready for each slot, replaces those that ended
worker.py            one worker: executes a run of one job, or of several
exec_runner.py       the exec runner: a job's file and limits; a new program per job
launcher.py          one slot's launcher: executes a run of one program
run.py               one run: the first cause that ends it, and its outcome; is given its limits
batch_run.py         one run of several jobs
child.py             a child process at the head of its own group: reads its output, notices its end, kills it
output_parser.py     bytes of stdout in, contract lines out
answer.py            an answer's outcome, half a character in it, and how an exit is described
fork_server.py       the consumer's side of the fork server
fork_client.py       requests to a process that forks for the consumer: fork, reap, end
resource_monitor.py  samples what a job uses, kills the job that exceeds a limit
procfs.py            reads Linux's process table
environment.py       the environment of a classifier: an allow-list
sandbox.py           the command line of bubblewrap
programs/            what can be started, checked before the first job
files/               job files and job folders
"""
