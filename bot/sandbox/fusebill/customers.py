"""The customers of the simulated Fusebill, in the vendor's format, and the operations on them."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PAGE_SIZE = 100
_FILTERS = (
    "firstname",
    "lastname",
    "companyname",
    "primaryemail",
    "primaryphone",
    "reference",
    "status",
    "salesforceid",
    "netsuiteid",
    "quickbooksid",
    "parentid",
)


class Refusal(Exception):
    """Fusebill refuses a call with this HTTP status and text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def sample_customers() -> dict[int, dict[str, Any]]:
    """Return new sample customers by id: the vendor's own sample, and one per special case.

    The cases: nothing latched (3100017), only a contact (3100025), ids as strings (3100033), a
    reference that is another customer's id (3100042), hostile text (3100058), HubSpot ids beyond
    32 bits (3100066), two email addresses and an account on hold (3100071).
    """
    rows = (
        _customer(
            2554529,
            "Stolen Bikes",
            "1337",
            (101, 202),
            firstName="John",
            lastName="Doe",
            title="Mr",
            primaryPhone="613-555-5555",
            primaryEmail="john.doe@stolenbikes.example",
        ),
        _customer(3100017, "Harbour Light Coffee", "HLC-004", (None, None)),
        _customer(3100025, "Maple & Pine Joinery", "MPJ-118", (5151, None)),
        _customer(3100033, "Quiet Street Dental", "QSD-09", ("734001", "734002")),
        _customer(3100042, "Riverside Cycle Hire", "2554529", (30301, 30302)),
        _customer(
            3100058,
            "<!channel> <https://evil.example|Free money> *bold* <script>alert(1)</script> & Sons",
            "`'; --",
            (666, 667),
            firstName="<@U0ALICE>",
            lastName="\u202eright to left",
        ),
        _customer(3100066, "Northern Telescope Works", "NTW-77", (434381295294, 434381295295)),
        _customer(
            3100071,
            "Tidewater Print & Copy",
            "TPC-300",
            (88001, 88002),
            status="Hold",
            customerAccountStatus="PoorStanding",
            primaryEmail="billing@tidewater.example;office@tidewater.example",
        ),
    )
    return {row["id"]: row for row in rows}


def moved_customers() -> dict[int, dict[str, Any]]:
    """Return five more customers by id, all latched: with the samples enough to try many at once.

    One has only a contact (3100112), two only a company (3100084, 3100128).
    """
    rows = (
        _customer(3100084, "Lantern Street Books", "LSB-021", (None, 90110)),
        _customer(3100090, "Copper Kettle Bakery", "CKB-777", (90201, 90202)),
        _customer(3100105, "Fen & Field Surveyors", "FFS-5", (90301, 90302)),
        _customer(3100112, "Old Mill Pottery", "OMP-64", (90401, None)),
        _customer(3100128, "Saltmarsh Boat Repairs", "SBR-12", (None, 90510)),
    )
    return {row["id"]: row for row in rows}


def _customer(
    customer_id: int,
    company: str,
    reference: str,
    latched: tuple[int | str | None, int | str | None],
    **fields: str,
) -> dict[str, Any]:
    inner = {"id": customer_id, "uri": f"/customers/{customer_id}"}
    acquisition = ("adContent", "campaign", "keyword", "landingPage", "medium", "source")
    return {
        "firstName": "Accounts",
        "middleName": None,
        "lastName": "Payable",
        "companyName": company,
        "suffix": None,
        "primaryEmail": f"accounts@customer-{customer_id}.example",
        "primaryPhone": None,
        "secondaryEmail": None,
        "secondaryPhone": None,
        "title": None,
        "reference": reference,
        "status": "Active",
        "customerAccountStatus": "Good",
        "currency": "USD",
        "customerReference": {
            **dict.fromkeys(("reference1", "reference2", "reference3")),
            "salesTrackingCodes": [],
            **inner,
        },
        "customerAcquisition": {**dict.fromkeys(acquisition), **inner},
        "monthlyRecurringRevenue": 25.98,
        "netMonthlyRecurringRevenue": 25.98,
        "salesforceId": None,
        "salesforceAccountType": None,
        "salesforceSynchStatus": "Enabled",
        "netsuiteId": None,
        "netsuiteCustomerType": "",
        "portalUserName": None,
        "parentId": None,
        "quickBooksLatchType": None,
        "quickBooksId": None,
        "quickBooksSyncToken": None,
        "hubSpotId": latched[0],
        "hubSpotCompanyId": latched[1],
        "modifiedTimestamp": "2020-04-28T14:12:00.0301255Z",
        **inner,
        **fields,
    }


def find(customers: dict[int, dict[str, Any]], customer_id: int | None) -> dict[str, Any]:
    """Return the customer. Raises: Refusal (404)."""
    if customer_id is None or customer_id not in customers:
        raise Refusal(HTTPStatus.NOT_FOUND, f"Customer with id {customer_id} not found.")
    return customers[customer_id]


def unlatch(customers: dict[int, dict[str, Any]], customer_id: int | None) -> dict[str, Any]:
    """Remove both mappings; it is no error if there are none. Raises: Refusal (404)."""
    customer = find(customers, customer_id)
    customer.update(hubSpotId=None, hubSpotCompanyId=None)
    return customer


def latch_order(body: bytes) -> tuple[int | None, dict[str, Any]]:
    """Parse a latch call into the customer id (None if malformed) and the new HubSpot ids.

    An id that is missing or null removes its mapping, as the vendor documents.
    """
    try:
        order = json.loads(body)
    except ValueError:
        return None, {}
    if not isinstance(order, dict) or not isinstance(order.get("fusebillId"), int):
        return None, {}
    wanted = {name: order.get(name) for name in ("hubSpotId", "hubSpotCompanyId")}
    return order["fusebillId"], wanted


def latch(customers: dict[int, dict[str, Any]], body: bytes) -> dict[str, Any]:
    """Set both mappings. Raises: Refusal (400, 404, or 409: another customer has one of them)."""
    customer_id, wanted = latch_order(body)
    if customer_id is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The request is malformed.")
    customer = find(customers, customer_id)
    for other in customers.values():
        for name, value in wanted.items():
            taken = value is not None and str(other[name]) == str(value)
            if taken and other is not customer:
                text = f"{name} {value} is already latched to customer {other['id']}."
                raise Refusal(HTTPStatus.CONFLICT, text)
    customer.update(wanted)
    return customer


def page_of(
    customers: dict[int, dict[str, Any]], query: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return one page of customers for the query, and the paging headers. Raises: Refusal (400)."""
    size, page = query.get("pageSize", "100"), query.get("pageNumber", "0")
    if not (size.isdecimal() and page.isdecimal() and 0 < int(size) <= MAX_PAGE_SIZE):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The page is malformed.")
    found = list(customers.values())
    for part in filter(None, query.get("query", "").split(";")):
        name, colon, pattern = part.partition(":")
        if not colon or name.lower() not in _FILTERS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is not a filter.")
        found = [row for row in found if _matches(row, name.lower(), pattern)]
    last = max(0, -(-len(found) // int(size)) - 1)
    headers = {
        "X-NextPage": str(int(page) + 1 if int(page) < last else -1),
        "X-Count": str(len(found)),
        "X-MaxPageIndex": str(last),
    }
    return found[int(page) * int(size) :][: int(size)], headers


def _matches(row: dict[str, Any], name: str, pattern: str) -> bool:
    value = {key.lower(): each for key, each in row.items()}.get(name)
    wanted = ".*".join(re.escape(part) for part in pattern.split("*"))
    text = "" if value is None else str(value)
    return re.fullmatch(wanted, text, re.IGNORECASE | re.DOTALL) is not None
