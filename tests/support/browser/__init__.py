"""A real browser, and pages that are not ours in it, for tests and for pictures.

chromium.py             headless Chromium, for a block
management_console.py   RabbitMQ's management console, logged in
"""
