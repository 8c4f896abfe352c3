"""The calls to Fusebill (Stax Bill).

`client.FusebillClient` makes them, `answers` reads an HTTP answer's headers, and `responses` turns
it into a value or an error, without I/O. `errors` holds the exception tree, `pace` keeps work on
many customers within Fusebill's limits, and `transport` sends httpx's requests over aiohttp.

May import `domain`, `settings` and `ops`. Start reading in `errors.py`, then `client.py`.
"""
