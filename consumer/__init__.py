"""The service: takes classification jobs from RabbitMQ and runs each in a classifier subprocess."""
