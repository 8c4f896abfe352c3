"""A simulated Slack: one HTTP server on loopback, for the tests and the sandbox.

`workspace` holds people, channels and messages, `views` the modals. `web_api`, `response_urls` and
`socket_mode` take the bot's calls; `wire` records them and makes them fail on request. `delivery`
builds what Slack sends to the bot. `validation` checks blocks and views as Slack does. It imports
nothing of the bot or of the simulated Fusebill. Start reading at `simulator.SimulatedSlack`.
"""
