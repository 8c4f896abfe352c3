"""The promises of the bot, one test each."""
