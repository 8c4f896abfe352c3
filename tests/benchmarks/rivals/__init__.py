"""The same flow by other means, each a program that reads the bot's own variables."""
