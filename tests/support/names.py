"""Names that many tests share: a channel, a customer, buttons, people."""

from __future__ import annotations

from bot.domain.models import Person

CHANNEL = "C0BILLING"
BIKES = 2554529
CONFIRM = "unlatch_confirm"
CANCEL = "unlatch_cancel"
UNDO = "unlatch_undo"
CHECK = "unlatch_check"
ALICE = Person("U0ALICE", "T0SANDBOX")
BOB = Person("U0BOB", "T0SANDBOX")
