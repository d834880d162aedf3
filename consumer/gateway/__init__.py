"""HTTP front end: jobs in and replies out by HTTP, for callers without AMQP. Needs the extra `http`.

server.py        the life of the gateway: listen, serve, drain, stop
app.py           paths and methods as a FastAPI application
jobs.py          POST publishes a job with the headers that are passed on, GET asks for its reply
admission.py     around every request: limit, counts, headers, bugs
request_body.py  reads a body, bounded in size and time
tokens.py        bearer tokens that may send jobs
ids.py           job ids: UUIDs of version 7
amqp_bridge.py   jobs to RabbitMQ, replies from it
reply_cache.py   replies that were read, and the requests that wait for one
problems.py      every failure: status, sentence, when to try again
openapi.py       the OpenAPI document
page.html, page.css, page.js  the page for people
"""
