"""The same bot between a simulated Slack and a simulated Fusebill; nothing in here is real."""
