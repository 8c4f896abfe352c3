"""Validates blocks, tables and modals as Slack does, and renders them as text.

`block_kit` checks the blocks of a message with `rich_text` and `tables`, `view_checks` a modal;
`block_checks` holds the checks of single fields. It imports nothing but itself. Start with
`block_kit`.
"""
