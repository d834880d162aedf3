"""The settings of an operator. No other package reads the environment or the settings file for them.

settings.py             all settings, composed of groups; makes the topology and the rules of jobs from them
rabbitmq_settings.py    settings for the connection to RabbitMQ, the login, names
classifier_settings.py  settings for the classifier, its slots and models
job_settings.py         settings for the accepted jobs, their run times and attempts
limit_settings.py       settings for the limits and the folder of a run; makes the `Limits` of a run from them
operation_settings.py   settings for shutdown, ports, metrics, logs, traces
setting_group.py        the base class of all groups: frozen and checked values
units.py                reads and writes times and sizes with units: 5m, 500MiB
sources.py              reads the variables and the TOML file; imports no pydantic, as each command needs it
loader.py               checks the settings from flags, variables and the TOML file
job_limits.py           the type `Limits`; whether a limit was exceeded, and the message about it
credentials.py          reads the files for the login and for TLS
amqp_url.py             parses and checks AMQP URLs, hides their passwords
cpu_count.py            counts the CPUs that this process may use: the default pool size
function_name.py        checks the form `package.module:function` of the setting `classifier`
passed_variables.py     checks the variables in `pass_environment`
"""
