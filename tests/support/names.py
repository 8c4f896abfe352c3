"""Names that many tests share: a channel, a customer, buttons, people."""

from __future__ import annotations

from bot.domain.models import Person

CHANNEL = "C0BILLING"
BIKES = 2554529
CONFIRM = "unlatch_confirm"
CANCEL = "unlatch_cancel"
UNDO = "unlatch_undo"
MOVE = "unlatch_move"
CHECK = "unlatch_check"
AGAIN = "unlatch_again"
STOP = "unlatch_stop"
USE = "unlatch_use"
ANYWAY = "unlatch_anyway"
ALICE = Person("U0ALICE", "T0SANDBOX")
BOB = Person("U0BOB", "T0SANDBOX")
CUSTOMERS = [BIKES, 3100025, 3100033, *range(5_000_001, 5_000_010)]
"""Twelve; the simulated Fusebill has the first three, and `add_customers` adds the others."""
