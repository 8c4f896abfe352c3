"""How long the bot waits before it calls Slack again for a card that Slack did not take."""

from __future__ import annotations

import math

QUICK_PAUSE_S = 60.0
MAX_PAUSE_S = 3600.0


def pause_after(attempts: int, first_s: float) -> float:
    """The pause in seconds after so many failed attempts: doubled up to a minute, then 10 % longer.

    So an outage of an hour is over for a card a few minutes after it is over for Slack, and a
    channel that the bot was removed from costs a call an hour.
    """
    doublings = max(math.ceil(math.log2(QUICK_PAUSE_S / first_s)), 0)
    if attempts < doublings:
        return first_s * 2.0**attempts
    return min(QUICK_PAUSE_S * 1.1 ** min(attempts - doublings, 100), MAX_PAUSE_S)
