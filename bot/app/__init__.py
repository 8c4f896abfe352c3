"""Builds, runs and checks the bot.

`composition` is the only place that builds objects; `server` opens the built bot to Slack and its
host, says whether it is ready, and stops it. `setup`, `check` and `audit` are the
commands of these names, and `examples` are what `unlatch-bot example` prints. May import
everything but `sandbox` and `__main__`. Start with `composition.build`.
"""
