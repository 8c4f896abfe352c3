"""Logs, metrics, background tasks and retries: used everywhere in the bot.

Imports nothing of the bot. Each module stands alone: `logs` configures logging, `metrics` counts
for Prometheus, and `tasks` keeps those that the server drains when it stops, and calls again what
failed.
"""
