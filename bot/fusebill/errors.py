"""What can go wrong with a call to Fusebill.

    FusebillError                a call that returned no value
    ├── FusebillRefused          4xx in words of Fusebill's: refused
    │   ├── CustomerNotFound     404 in Fusebill's documented form of error: no such customer
    │   ├── KeyRefused           401, or the documented 400: Fusebill refuses the API key
    │   └── RateLimited          429: too many calls, whoever counts them
    ├── OutcomeUnknown           time-out, lost reply: maybe changed
    │   ├── Unavailable          408, 5xx: Fusebill, or what is in front of it, is in trouble
    │   └── NotUnderstood        a whole answer, but not in a form of Fusebill's
    │       ├── Forbidden        403, 407, 451, a bare 401: somebody in front of Fusebill says no
    │       └── WrongAddress     404 in any other form, 405, a redirect: perhaps no Fusebill here
    └── NotReached               no connection: nothing was sent, nothing was changed

A page of a proxy, an empty body or half of one passes as it came, and so it is tried again; only
what says `FusebillRefused` is a "no" of Fusebill's. Only an error with `own_form` is known to come
from Fusebill itself.
Source: developer.staxbill.com/reference/unlatch-customer-1 and the pages beside it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

UNREADABLE = "the answer cannot be read"
"""Begins the `why` of an answer that is not understood; what it is follows after a colon."""


@dataclass(eq=False, repr=False)
class FusebillError(Exception):
    """A call returned no value.

    `status` is the HTTP status, None without an answer. `texts` are the words of the answer,
    unescaped: at most 100 of at most 9,000 characters. `why` is the client's reason, for people;
    `detail` is the same at full length, for logs. `error_id` is Fusebill's `ErrorId`, None if there
    was none. `own_form` says that the body is Fusebill's documented form of error. `retry_at` is
    when the answer says to try again.

    `may_still_run`: a write may have reached Fusebill and not have ended yet, so that it can take
    effect later than anything that is read now. That is so after a time-out, whether the bot
    (nobody answered) or somebody on the way (HTTP 408, 504) stopped waiting, and after a connection
    that was lost more than a second after the call began. Whatever else was answered, and a
    connection that was lost at once, ended the call. `lasting` is what no waiting ends, such as a
    certificate that is not trusted.
    """

    status: int | None = None
    texts: tuple[str, ...] = ()
    why: str = ""
    detail: str = ""
    error_id: int | None = None
    own_form: bool = False
    retry_at: datetime | None = None
    may_still_run: bool = False
    lasting: bool = False

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later without anybody's help.

        False only where it is known that somebody has to change something first.
        """
        return not self.lasting

    def __str__(self) -> str:
        parts = [f"HTTP {self.status}" if self.status else "", self.why, self.detail, *self.texts]
        return ": ".join(part for part in parts if part)

    def wait_s(self, at_most_s: float) -> bool | float:
        """How long to wait before a retry, in stamina's terms: seconds, with jitter.

        True (stamina's own back-off) if the answer did not say; False (no retry) from `at_most_s`
        on.
        """
        if self.retry_at is None:
            return True
        wait_s = max(0.0, (self.retry_at - datetime.now(UTC)).total_seconds())
        wait_s += random.uniform(0.05, 0.5)  # noqa: S311  # jitter
        return wait_s if wait_s < at_most_s else False


class FusebillRefused(FusebillError):
    """The call was refused; read the customer to be sure that nothing was changed."""

    @property
    def may_pass(self) -> bool:
        """A conflict may: Fusebill also answers 409 while it synchronises a customer."""
        return self.status == HTTPStatus.CONFLICT


class CustomerNotFound(FusebillRefused):
    """Fusebill itself says that it knows no such customer; any other 404 is WrongAddress."""


class KeyRefused(FusebillRefused):
    """Fusebill refused the bot's API key."""


class RateLimited(FusebillRefused):
    """Too many calls."""

    @property
    def may_pass(self) -> bool:
        """It does, by the minute or the day."""
        return True


class OutcomeUnknown(FusebillError):
    """The customer may have been changed or not: read the customer to find out."""


class Unavailable(OutcomeUnknown):
    """Fusebill, or what is in front of it, could not handle the call."""


class NotUnderstood(OutcomeUnknown):
    """The answer is complete and not in a form of Fusebill's; `why` says what it is.

    It says nothing about the read or the write: it may be the page of a proxy, or of a host that is
    being restarted.
    """


class Forbidden(NotUnderstood):
    """Something in front of Fusebill (a firewall, a proxy, a list of addresses) refuses the bot.

    Fusebill documents no 403, and hosts that are stopped for a while answer so. A 401 without words
    of Fusebill's may also mean the API key.
    """


class WrongAddress(NotUnderstood):
    """Perhaps no Fusebill API answers at this address; for a redirect, `why` names the target."""


class NotReached(FusebillError):
    """There was no connection to Fusebill: nothing was sent, nothing was changed."""
