"""The sandbox's web page: a Slack channel to try the bot in, and switches for faults.

`api` serves the files in `static/` (plain JavaScript modules, no build step), streams the state of
the simulated Slack as server-sent events, and takes what people type and click. It imports the
simulated Slack and nothing of the bot. Start reading at `api.PageApi` and `static/page.js`.
"""
