"""The HTTP door: jobs by HTTP in, their replies by HTTP out, for callers that have no AMQP."""
