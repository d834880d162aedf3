"""The name and version of this service. The version of every distribution and image is read from here."""

PRODUCT = "rabbitmq-classifier"
VERSION = "0.1.0"
