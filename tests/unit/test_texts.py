"""What people type and paste, and what each text means: one meaning, a question, or a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.domain.cells import Pages
from bot.domain.commands import (
    MAX_REASON_LENGTH,
    Ask,
    Doubt,
    Find,
    Help,
    History,
    Malformed,
    Many,
    Move,
    Pending,
    Question,
    UndoOf,
)
from bot.domain.pasted_text import ColumnChoice, Pasted, read_lines
from bot.domain.typed_text import parse

SAMPLES = Path(__file__).parents[1] / "samples" / "pasted"
ONE, TWO, THREE = 2554529, 3100017, 3100025
PAIR = (ONE, TWO)
PAGES = Pages("https://a.example/7/customer/{id}/view")
APP, API = "https://admin.staxbill.com", "https://secure.fusebill.com/v1"
TICKET = "https://help.example/tickets/3100017"
RECORD = "https://app.hubspot.com/contacts/777/record/0-2/202"
INVOICE = f"{APP}/invoices/395393"
LONG = "x" * (MAX_REASON_LENGTH + 1)


def two(
    many: tuple[int, ...], why: str, few: tuple[int, ...], reason: str, address: str = ""
) -> Question:
    return Question(Ask(many, why), Ask(few, reason), address)


def beside(reason: str, whole: str) -> Question:
    """An address that names nobody beside an id: it is left out, or it is the reason."""
    return Question(Ask((ONE,), reason), Ask((ONE,), whole), "of an address")


def doubt(typed: str, customer_id: int | None, reason: str = "", ids: tuple[int, ...] = ()) -> Any:
    return Question(Ask(ids, reason, (Doubt(typed, customer_id),)))


def page(typed: str, customer_id: int, ids: tuple[int, ...] = (), reason: str = "") -> Ask:
    return Ask(ids, reason, (Doubt(typed, customer_id, is_address=True),))


COMMANDS: list[tuple[str, Any]] = [
    ("", Help()),
    ("\u200b", Help()),
    ("help", Help()),
    ("pending", Pending()),
    (" Pending ", Pending()),
    ("pending 2554529", "Nothing can follow “pending”."),
    ("many", Many()),
    (" MANY\u200b", Many()),
    ("many 2554529", "Nothing can follow “many”."),
    ("history", History(None)),
    ("HISTORY #2554529", History(ONE)),
    ("history \u200b2554529\ufeff", History(ONE)),
    (f"history {APP}/customers/2554529", History(ONE)),
    (
        "history abc",
        "'abc' is not a Stax Bill ID: digits only. (To search names",
    ),
    ("history 0", "No customer has the id 0."),
    ("history 0001337", "may be a reference"),
    (f"history {INVOICE}", "may be another record's"),
    (f"history {APP}/", "no customer's number in its path"),
    ("undo 2554529", UndoOf(ONE)),
    (f"Undo {APP}/customers/2554529 please", UndoOf(ONE)),
    ("latch #2554529", UndoOf(ONE)),
    ("undo", "Undo… is a button on the request's card"),
    ("undo the last one", "Undo… is a button on the request's card"),
    ("cancel 2554529", "Cancel is a button on the request's card"),
    ("confirm", "Unlatch … is a button on the request's card"),
    ("stop", "Stop is a button on the request's card"),
    ("move 2554529 to 3100017", Move(ONE, {}, TWO, "")),
    ("move 2554529 to contact 9901 merged", Move(ONE, {"vid": 9901}, None, "merged")),
    ("move", "Which customer is it, and what does it move to?"),
    ("move along", "is not a Stax Bill ID"),
]
SEARCHES: list[tuple[str, Any]] = [
    ("find  Stolen\u00a0\u00a0Bikes ", Find("Stolen Bikes")),
    ("find „Stolen Bikes“", Find("Stolen Bikes")),
    ("find Sto\u200blen\ufeff", Find("Stolen")),
    ('find Bikes 24"', Find('Bikes 24"')),
    ("Find R&amp;D", Find("R&D")),
    ("find Cafe\u0301", Find("Caf\u00e9")),
    ("find 2554529", Find("2554529", (ONE,))),
    ("find <mailto:doe@example.com|doe@example.com>", Find("doe@example.com")),
    ("find *:;", "There are no letters or digits to search for."),
    ("find", "There are no letters or digits to search for."),
    ("find " + "x" * 256, "The text to search for is longer than 255 characters."),
    ("maple joinery", Find("maple joinery")),
    ("QSD-09", Find("QSD-09")),
    ("Cafe\u0301 Zoe\u0308", Find("Caf\u00e9 Zo\u00eb")),
    ("bikes 2554529", Find("bikes 2554529", (ONE,))),
    ("customer #2554529, moved.", Find("customer #2554529, moved.", (ONE,))),
    ("see https://admin.staxbill.com/customers/7", Find(f"see {APP}/customers/7", (7,))),
    (f"see {INVOICE}", Find(f"see {INVOICE}")),
    ('"Doe, 7",2554529', Find('"Doe, 7",2554529', (ONE,))),
    ('Bikes,"2,500.00",2554529', Find('Bikes,"2,500.00",2554529', (ONE,))),
    ("Bikes;99,50;2554529", Find("Bikes;99,50;2554529", (ONE,))),
    ("٣٤٥", Find("٣٤٥")),
    ("1/../../2", Find("1/../../2")),
    ("&lt;!channel&gt;", Find("<!channel>")),
    ("&#49;", Find("&#49;")),
    ("2554\u200b529", Find("2554529")),
    ("1" * 19, Find("1" * 19)),
    ("#", "There are no letters or digits to search for."),
    (" ,;", "There are no letters or digits to search for."),
    ("Bikes\t1\n" * 40, "The text to search for is longer than 255 characters."),
]
ONE_CUSTOMER: list[tuple[str, Any]] = [
    ("2554529", Ask((ONE,), "")),
    ("#2554529", Ask((ONE,), "")),
    ('"2554529"', Ask((ONE,), "")),
    ('="2554529"', Ask((ONE,), "")),
    # copied from a card, a message or a sheet
    ("`2554529`", Ask((ONE,), "")),
    ("```2554529``` why", Ask((ONE,), "why")),
    ("*`#2554529`*", Ask((ONE,), "")),
    ("_2554529_\nwhy", Ask((ONE,), "why")),
    ("“2554529”", Ask((ONE,), "")),
    ("„2554529“", Ask((ONE,), "")),
    ("'2554529'", Ask((ONE,), "")),
    ("999999999999999999 big", Ask((999999999999999999,), "big")),
    ("2554529 moved  to\nthe\tnew portal ", Ask((ONE,), "moved to the new portal")),
    ("2554529 R&amp;D &lt;!channel&gt;", Ask((ONE,), "R&D <!channel>")),
    ("2554529 a\x00b\ud800c", Ask((ONE,), "a b c")),
    ("2554529 " + LONG[1:], Ask((ONE,), LONG[1:])),
    ("2554529 " + LONG, "The reason is longer than 500 characters."),
    ("2554529\u200b", Ask((ONE,), "")),
    ("\ufeff2554529\u00ad moved", Ask((ONE,), "moved")),
    ("\u200b \u2060#2554529\u200e\u2069 moved", Ask((ONE,), "moved")),
    # reasons that nobody sees
    ("2554529 \u3164\u115f", Ask((ONE,), "")),
    ("2554529 \u200b\ufe0f\u034f\U000e0020", Ask((ONE,), "")),
    ("2554529 👩\u200d👧", Ask((ONE,), "👩\u200d👧")),
    # numbers that are no second id
    ("2554529 0", Ask((ONE,), "0")),
    ("2554529 see 12345", Ask((ONE,), "see 12345")),
    ("2554529 #12ab", Ask((ONE,), "#12ab")),
    ("2554529 and 12,345 contacts", Ask((ONE,), "and 12,345 contacts")),
    ("2554529, moved portal", Ask((ONE,), "moved portal")),
    ("2554529,", Ask((ONE,), "")),
    ("0", "No customer has the id 0."),
    ("0, 2554529", "No customer has the id 0."),
    # zeros
    ("0001337", doubt("0001337", 1337)),
    ("#007", doubt("007", 7)),
    ("0001337 moved portal", doubt("0001337", 1337, "moved portal")),
    ("0" * 19, doubt("0" * 19, None)),
    ("2554529, 0001337 moved", doubt("0001337", 1337, "moved", (ONE,))),
    ("2554529, #2554529; 02554529 moved", doubt("02554529", ONE, "moved", (ONE,))),
    (
        "2554529 0001337",
        Question(
            Ask((ONE,), "", (Doubt("0001337", 1337),)),
            Ask((ONE,), "0001337"),
        ),
    ),
    (f"0001337 {TICKET}", "To see whose it is, search for it: find 0001337"),
    ("0001337 12 months", "“0001337” begins with 0, so it may be a reference"),
    ("0001337 " + LONG, "The reason is longer than 500 characters."),
]
ADDRESSES: list[tuple[str, Any]] = [
    (f"{APP}/Customers/2554529 moved", Ask((ONE,), "moved")),
    (f"&lt;{APP}/customers/2554529|Stolen Bikes&gt; moved", Ask((ONE,), "moved")),
    ("HTTPS://ADMIN.STAXBILL.COM/CUSTOMER/2554529/", Ask((ONE,), "")),
    ("https://stg-admin.fusebill.com/#/customers/2554529/edit moved", Ask((ONE,), "moved")),
    (f"({APP}/customers/2554529).", Find(f"({APP}/customers/2554529).", (ONE,))),
    (f"{APP}/customers/2554529/invoices/77 moved", Ask((ONE,), "moved")),
    ("https://a.example/7/customer/2554529/view", Ask((ONE,), "")),
    ("https://a.example/7/customer/2554529/view?tab=1 moved", Ask((ONE,), "moved")),
    # pages of Fusebill's app that may be another record's
    (INVOICE, Question(page(INVOICE, 395393))),
    (f"{APP}/c/2554529 moved", Question(page(f"{APP}/c/2554529", ONE, reason="moved"))),
    (
        f"2554529, {INVOICE} moved",
        Question(page(INVOICE, 395393, (ONE,), "moved"), Ask((ONE,), f"{INVOICE} moved")),
    ),
    (
        f"2554529 see {INVOICE}",
        Question(page(INVOICE, 395393, (ONE,), "see"), Ask((ONE,), f"see {INVOICE}")),
    ),
    (f"{INVOICE} 12 months", "This address may be another record's"),
    # a second customer
    (f"2554529, {APP}/customers/3100017 moved", Ask(PAIR, "moved")),
    (f"{APP}/customers/2554529\n3100017", Ask(PAIR, "")),
    (f"{APP}/customers/2554529; <{APP}/customers/3100017|x> a", Ask(PAIR, "a")),
    (
        f"2554529 {APP}/customers/3100017 a",
        two(PAIR, "a", (ONE,), f"{APP}/customers/3100017 a"),
    ),
    (
        f"2554529 see {APP}/customers/3100017",
        two(PAIR, "see", (ONE,), f"see {APP}/customers/3100017"),
    ),
    (
        f"{APP}/customers/2554529 {APP}/customers/3100017",
        two(PAIR, "", (ONE,), f"{APP}/customers/3100017"),
    ),
    (
        f"{APP}/customers/2554529 12 \u2800",
        two((ONE, 12), "", (ONE,), "12"),
    ),
    # sites whose numbers are never an id
    (f"2554529, {TICKET}", beside("", TICKET)),
    (f"2554529 {TICKET}, moved", beside("moved", f"{TICKET}, moved")),
    ("2554529 help.example/tickets/7", beside("", "help.example/tickets/7")),
    (f"2554529 {RECORD} moved", beside("moved", f"{RECORD} moved")),
    (f"2554529 {API}/invoices/395393", beside("", f"{API}/invoices/395393")),
    (f"2554529, {TICKET}, 3100017", two(PAIR, "", (ONE,), f"{TICKET}, 3100017", TICKET)),
    (f"2554529 moved to {RECORD}", Ask((ONE,), f"moved to {RECORD}")),
    (TICKET, "This address is not Fusebill's, so its numbers are not customer ids"),
    ("https://shop.example/customers/2554529", "This address is not Fusebill's"),
    (RECORD, "This is an address of HubSpot, which names no customer of Fusebill"),
    (f"{API}/invoices/395393", "no customer's number in its path"),
    (f"{APP}/customers", "no customer's number in its path"),
    (f"{APP}/a/1/b/2", "several numbers in its path"),
    (f"{APP}/customers/" + "9" * 19, "at most 18 digits"),
    (f"{APP}/customers/0", "No customer has the id 0."),
    ("https://[junk/1", "This is not an address; type the Stax Bill ID, digits only."),
]
SEVERAL: list[tuple[str, Any]] = [
    ("2554529, 3100017; #3100025 moved portal", Ask((*PAIR, THREE), "moved portal")),
    ("2554529,3100017", Ask(PAIR, "")),
    ("7,8", Ask((7, 8), "")),
    ("2554529 , 3100017 ;\t3100025", Ask((*PAIR, THREE), "")),
    ("2554529\n3100017\r\n3100025\nmoved", Ask((*PAIR, THREE), "moved")),
    ("#2554529\n#3100017\r\n3100025\rmoved\nportal", Ask((*PAIR, THREE), "moved portal")),
    ("\u200b2554529\u200b,\ufeff3100017\u00ad \u2800", Ask(PAIR, "")),
    ("2554529, 3100017, 2554529", Ask(PAIR, "")),
    ("2554529, 3100017 " + LONG[1:], Ask(PAIR, LONG[1:])),
    ("2554529, 3100017 " + LONG, "The reason is longer than 500 characters."),
    (", ".join(map(str, range(1, 64))), "These are 63 customers; one card takes at most 50."),
    ("2554529 3100017", two(PAIR, "", (ONE,), "3100017")),
    ("2554529\u00a0#3100017", two(PAIR, "", (ONE,), "#3100017")),
    ("2554529,\u200b \u200b3100017", two(PAIR, "", (ONE,), "\u200b3100017")),
    ("2554529 and 3100017", two(PAIR, "", (ONE,), "and 3100017")),
    ("2554529 & #3100017 moved", two(PAIR, "moved", (ONE,), "& #3100017 moved")),
    ("2554529 - 3100017", two(PAIR, "", (ONE,), "- 3100017")),
    ("2554529, 3100017, and 3100025", two((*PAIR, THREE), "", PAIR, "and 3100025")),
    ("2554529 AND 3100017 + 3100025", two((*PAIR, THREE), "", (ONE,), "AND 3100017 + 3100025")),
    ("2554529 & sons", Ask((ONE,), "& sons")),
    ("2554529 and 2nd time", Ask((ONE,), "and 2nd time")),
    ("2554529 12 months free", two((ONE, 12), "months free", (ONE,), "12 months free")),
    (
        "2554529, 3100017 12 months, free",
        two((*PAIR, 12), "months, free", PAIR, "12 months, free"),
    ),
    ("2554529 3100017, 3100025", two((*PAIR, THREE), "", (ONE,), "3100017, 3100025")),
    ("2554529 moved\n3100017 too", two(PAIR, "moved too", (ONE,), "moved 3100017 too")),
    ("2554529\tBikes\n3100017\tTents", two(PAIR, "Bikes Tents", (ONE,), "Bikes 3100017 Tents")),
    ("2554529 12 " + LONG, "The reason is longer than 500 characters."),
    ("2554529 12 " + LONG[3:], "If these numbers are ids, type commas between them."),
    ("1,500", "'1,500' looks like one number with thousands separators."),
    ("2,554,529", "'2,554,529' looks like one number with thousands separators."),
    ("2,554,529, 3100017 moved", "'2,554,529,' looks like one number"),
    ("2554529;99,50;Bikes", "'99,50' looks like one number"),
    ("2.554.529", "'2.554.529' looks like one number"),
    ("2 554 529", "Is 2554529 one id? Then type it without blanks."),
    ("2\u202f554\u202f529 moved", "Is 2554529 one id?"),
    ("#12\u00a0345, moved", "Is 12345 one id?"),
    ("2554529, 0", "No customer has the id 0."),
    ("2554529, " + "1" * 19, "a Stax Bill ID has at most 18 digits"),
    ("2554529, ٣٤٥", "'٣٤٥' is not a Stax Bill ID: digits only."),
    ("2554529, 31OOO17, 3100025", "'31OOO17' is not a Stax Bill ID"),
]
TYPED = [*COMMANDS, *SEARCHES, *ONE_CUSTOMER, *ADDRESSES, *SEVERAL]


def references(*typed: str) -> Pasted:
    return Pasted((), doubts=tuple(map(Doubt, typed)))


PASTED: list[tuple[str, Any]] = [
    ("2554529\n3100017\n\n 3100025 \n", Pasted((*PAIR, THREE))),
    ('"2554529",\n"3100017"', Pasted(PAIR)),
    ('="2554529"\n="3100017"', Pasted(PAIR)),
    ("\u200b2554529\u00ad\tBikes", Pasted((ONE,))),
    ("2554529\tStolen Bikes\tREF-7", Pasted((ONE,))),
    ("2554529,Stolen Bikes,REF-7", Pasted((ONE,))),
    ('"2554529";"Stolen Bikes; Ltd"', Pasted((ONE,))),
    ('"Doe, 7",2554529', Pasted((ONE,))),
    ('Bikes,"2,500.00",2554529', Pasted((ONE,))),
    ("Bikes;99,50;2554529\nTents;1.000,00;3100017", Pasted(PAIR)),
    ("| 2554529 | Bikes |\n| 3100017 | Tents |", Pasted(PAIR)),
    ('2554529\t"Stolen\nBikes"\n3100017\t"Tents"', Pasted(PAIR)),
    ('2554529\tBikes 24"\n3100017\t"Tents', Pasted(PAIR)),
    ("2554529\tx\t2554529\n3100017\ty\t3100017", Pasted(PAIR)),
    # addresses
    (f"{APP}/customers/2554529\n3100017", Pasted(PAIR)),
    (f"<{API}/customers/2554529/edit?a=1#b>\tBikes", Pasted((ONE,))),
    (f"Bikes\t{APP}/#/customers/2554529?tab=1", Pasted((ONE,))),
    (f"{RECORD}, 2554529", Pasted((ONE,))),
    ("https://a.example/7/customer/2554529/view", Pasted((ONE,))),
    (INVOICE, Pasted((), doubts=(Doubt(INVOICE, 395393, is_address=True),))),
    (RECORD, "Line 1: This is an address of HubSpot"),
    (f"7\n{APP}/a/1/b/2", "Line 2: This address has several numbers in its path"),
    (f"{APP}/customers/0", "Line 1: No customer has the id 0."),
    (TICKET, "Line 1: This address is not Fusebill's"),
    ("https://[junk/1", "Line 1: This is not an address"),
    (f"{APP}/customers/2554529, {APP}/customers/7", "Line 1: 2 numbers stand in this line"),
    # header rows
    ("Stax Bill ID\tCustomer ID\tCompany\n2554529\t3100017\tBikes", Pasted((ONE,))),
    ("Company,Customer ID,Stax Bill ID\nBikes,1337,2554529", Pasted((ONE,))),
    ("stax  bill ID\n2554529", Pasted((ONE,))),
    ("| Company | Fusebill ID |\n|---|---|\n| Bikes | 2554529 |", Pasted((ONE,))),
    ("Company\tCustomer ID\nBikes\t1337\nTents\t0001338", references("1337", "0001338")),
    ("Customer ID\nREF-7\nQSD 09", references("REF-7", "QSD 09")),
    ("Record ID\tCompany\n101\tBikes", "“Record ID” is HubSpot's id"),
    ("Stax Bill ID", "There is no Stax Bill ID here"),
    ("Stax Bill ID\nREF-7\nREF-8", "There is no Stax Bill ID here"),
    ("Company\tStax Bill ID\nBikes\t7\nCompany\tStax Bill ID\nTents\t8", Pasted((7, 8))),
    ("Stax Bill ID\n2554529\nCustomer ID\n1337", "the page of one customer"),
    ("Stax Bill ID\t2554529\nCustomer ID\t1337", "the page of one customer"),
    ("Stax Bill ID: 2554529", "There is no Stax Bill ID in 'Stax Bill ID: 2554529'"),
    ("Company\tBikes\nStax Bill ID\t2554529\nCustomer ID\t1337", "the page of one customer"),
    ('"2,554,529","Bikes"\n"3,100,017","Tents"', ("2,554,529", "Bikes")),
    ("Stax Bill ID\n0001337", Pasted((), doubts=(Doubt("0001337", 1337),))),
    ("Invoice No\tCompany\n395393\tBikes", ("395393", "Bikes")),
    ("Stax Bill ID,Stax Bill ID\n7,8", ("7", "8")),
    # columns that a person must choose
    ("2554529\t101\t202", ("2554529", "101", "202")),
    ("2554529,101\n3100017,102", ("2554529", "101")),
    ("Stolen Bikes\t2554529\t101", ("Stolen Bikes", "2554529", "101")),
    ("2554529 Stolen Bikes\n3100017 Tents", ("2554529", "Stolen", "Bikes")),
    ("24 Hour Bikes, 3100017", ("24 Hour Bikes", "3100017")),
    ("2554529 moved portal, 3100017", ("2554529 moved portal", "3100017")),
    ("7,Smith;8", ("7,Smith", "8", "7", "Smith;8")),
    ("Bikes,2554529\nDoe, 7,3100017", ("Bikes", "2554529", "3100017")),
    # references, zeros
    ("REF-7\nQSD-09", references("REF-7", "QSD-09")),
    ("0001337\n2554529", Pasted((ONE,), doubts=(Doubt("0001337", 1337),))),
    # what is wrong
    ("2554529\n\nStolen Bikes\n3100017", "Line 3: There is no Stax Bill ID in 'Stolen Bikes'."),
    ("Stolen Bikes, Inc.\n2554529", "Line 1: There is no Stax Bill ID in 'Stolen Bikes Inc.'."),
    ("2554529, 3100017", "Line 1: 2 numbers stand in this line"),
    ("2554529 and 3100017", "Line 1: 2 numbers stand in this line"),
    ("2,554,529", "Line 1: 3 numbers stand in this line: put each customer on its own line, with"),
    ("2554529, Bikes, x\nTents, 3100017", "The ids stand in different columns"),
    ("2554529\r\n0\r\n", "Line 2: No customer has the id 0."),
    ("1" * 19, "Line 1: '1111111111111111111' is too long: a Stax Bill ID has at most 18 digits"),
    ("2554529.0", "Line 1: There is no Stax Bill ID in '2554529.0'."),
    ("", "There is no Stax Bill ID here"),
    ("\n".join(map(str, range(1, 64))), "These are 63 customers; one card takes at most 50."),
    ("Reference\n" + "\n".join(map(str, range(1, 64))), "These are 63 customers"),
]
FILES: list[tuple[str, Any]] = [
    ("fusebill_customers.csv", Pasted((ONE, TWO, THREE, 3100033))),
    ("fusebill_customers_from_spreadsheet.tsv", Pasted((ONE, TWO, THREE, 3100033))),
    ("fusebill_customers_semicolons.csv", Pasted((ONE, TWO, THREE, 3100033))),
    ("hubspot_companies.csv", "“Record ID” is HubSpot's id, and Fusebill can't be searched by it"),
    ("hubspot_companies_with_fusebill_id.csv", Pasted(PAIR)),
]


def said(found: Pasted | ColumnChoice) -> str | tuple[str, ...] | None:
    """What is wrong with a pasted text, or the first cells of the columns to choose from."""
    if isinstance(found, ColumnChoice):
        return tuple(column.cells[0] for column in found.columns)
    lines = [f"Line {each.line}: {each.why}" if each.line else each.why for each in found.errors]
    return lines[0] if lines else None


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        *(("typed", *row) for row in TYPED),
        *(("pasted", *row) for row in PASTED),
        *(("file", *row) for row in FILES),
    ],
)
def test_a_text_means_what_it_says_or_is_asked_about(source: str, text: str, expected: Any) -> None:
    found: Any
    if source == "typed":
        found = parse(text, PAGES)
        why: Any = found.why if isinstance(found, Malformed) else None
        if isinstance(expected, Question):
            assert bool(found.why) == bool(expected.why)
    else:
        pasted = (SAMPLES / text).read_text() if source == "file" else text
        found = read_lines(pasted, PAGES)
        why = said(found)
    if isinstance(expected, str):
        assert isinstance(why, str), found
        assert expected in why
        assert why.isprintable()
    elif isinstance(expected, tuple):
        assert why == expected
    else:
        assert found == expected


def test_the_table_holds_at_least_150_texts() -> None:
    assert len(TYPED) + len(PASTED) + len(FILES) >= 150
