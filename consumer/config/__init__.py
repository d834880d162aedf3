"""What an operator can choose. No other package reads the environment or the settings file.

settings.py             all settings, composed of the groups; rules and results that concern several groups
rabbitmq_settings.py    ... which RabbitMQ, the login, the names there
classifier_settings.py  ... what runs the jobs, in how many slots
job_settings.py         ... which jobs are accepted, how long they run, how often they are tried
limit_settings.py       ... what one run may take, and where it runs
operation_settings.py   ... shutdown, ports, metrics, logs, traces
setting_group.py        what every group has: frozen values, none of which the machine refuses later
loader.py               reads them: flags over variables over the TOML file over defaults
job_limits.py           which limits a job has, their defaults and reasons, and the words for what was exceeded
credentials.py          how the service authenticates to RabbitMQ and verifies it: files beside the URL
amqp_url.py             parses and checks AMQP URLs, hides their passwords
cpu_count.py            how many CPUs this process may use: the default pool size
function_name.py        the form `package.module:function` of the setting `classifier`
passed_variables.py     which variables `pass_environment` may name
"""
