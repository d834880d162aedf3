"""A real browser, for tests and for the pictures of docs/.

chromium.py             runs headless Chromium
management_console.py   operates RabbitMQ's management console in Chromium
"""
