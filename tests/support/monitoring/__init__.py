"""The stores of a consumer's metrics, and a load that produces these metrics.

stores.py   runs the real statsd, Graphite and Prometheus, with the configurations from deploy/
load.py     runs a consumer under a load that changes every metric
"""
