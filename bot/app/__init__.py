"""Builds, runs and checks the bot.

`composition` is the only place that builds objects; `server` opens the built bot to Slack and its
host, and stops it; `readiness` is what it tells the host. `check` is `python -m bot check`, `audit`
is `python -m bot audit`, and `examples` are what `python -m bot example` prints. May import
everything but `sandbox` and `__main__`. Start with `composition.build`.
"""
