"""HTTP front end: accepts jobs and returns replies by HTTP, for callers without AMQP. Needs the extra `http`.

server.py        starts the gateway, serves, drains and stops
app.py           the FastAPI application: paths, methods, arguments and answers; makes the OpenAPI document
jobs.py          POST publishes a job with some of its headers, GET returns its reply
admission.py     wraps every request: limits, counts, headers, bugs
request_body.py  reads a body, with limits of size and time
tokens.py        checks bearer tokens
ids.py           makes and reads job ids: UUIDs of version 7
amqp_bridge.py   publishes jobs to RabbitMQ and reads replies from it
reply_cache.py   caches replies, and wakes the requests that wait for one
problems.py      lists every failure: status, sentence, when to retry
page.html, page.css, page.js, signals.js  the web page for people
"""
