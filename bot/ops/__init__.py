"""Logs, metrics, background tasks and retries: used everywhere in the bot.

Imports nothing of the bot. Each module stands alone: `logs` configures logging, `metrics` counts
for Prometheus, `background` keeps track of tasks until the server stops, `retries` calls again
what failed.
"""
