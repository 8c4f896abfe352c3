"""The sandbox's page, tested in a real browser (Debian's chromium)."""
