"""The sandbox: the real bot between a simulated Slack and a simulated Fusebill.

`runner` starts all three for `python -m bot sandbox`. `slack/` and `fusebill/` are HTTP servers,
and the tests' doubles too; `page/` is the web page that replaces Slack's app. Only `runner` may
import the rest of the bot: a simulator that shared its code would share its mistakes. Start reading
at `runner.opened`.
"""
