"""What is measured of a consumer, where it ends up.

stores.py   the real statsd, Graphite and Prometheus, with the configurations from deploy/
load.py     a consumer under a load that gives them something to show
"""
