"""Other bots that serve the same flow; each reads the bot's environment variables."""
