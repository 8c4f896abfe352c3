"""The calls to Slack.

`client.Slack` makes them over `web_api`, which has the HTTP session; `errors` says whose word an
answer is, `rate_limiter` queues calls after a 429, and `user_groups` caches the members of the
groups that the admin's lists name.

May import `messages` and everything below it. Start reading in `client.py`.
"""
