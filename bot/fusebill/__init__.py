"""The calls to Fusebill (Stax Bill).

`client.FusebillClient` makes them, and `responses` turns an HTTP answer into a value or an error,
without I/O. `errors` holds the exception tree, `pace` reads Fusebill's rate limits and keeps work
on many customers within them, and `transport` sends httpx's requests over aiohttp.

May import `domain`, `settings` and `ops`. Start reading in `errors.py`, then `client.py`.
"""
