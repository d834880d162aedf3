"""The service: takes classification jobs from RabbitMQ and runs each in a classifier subprocess.

The modules in this folder define what a job and its outcome are, and decide what happens to each outcome. They
import no package of the project. A package imports only from packages on lower floors; packages on one floor do
not import each other. `lint-imports` (in `make check`) enforces both.

floor 7   cli            arguments in, exit code out: one file per command
floor 6   gateway        HTTP front end; optional
          preflight      `consumer check`: finds faults before the service starts; changes nothing
          capacity       `consumer plan`: how many slots a load needs
floor 5   service        the path of one message; one process from its start to its end
          dead_letters   jobs that failed for good: list, show, replay, purge
floor 4   runners        Job in, Outcome out; knows nothing about RabbitMQ
          client         for producers; works without the service
          local_broker   a private RabbitMQ node, for development and tests only
floor 3   rabbitmq       connections, publishing, consuming; knows nothing about jobs
          telemetry      logs, metrics, traces, health; decides nothing
floor 2   config         what an operator can choose
floor 1   wire           the contract with producers; pure
floor 0   job.py         a request to classify (`Job`), and how its run ended (`Outcome`)
          disposition.py which reply and which settlement an outcome gets: two tables
          errors.py      errors of the service itself, one class for each person or system at fault
          escaping.py    makes foreign text safe to show
          wording.py     words that messages of several packages need
          line_breaks.py breaks lines for a terminal
          values.py      a faster dataclass decorator, for objects that are made for each job
          _version.py    the version of this service
          __main__.py    the command `consumer` (above all floors)
"""
