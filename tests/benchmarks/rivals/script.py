"""What somebody would write for one afternoon: a loop that reads, and one that unlatches.

`python -m tests.benchmarks.rivals.script AT_ONCE ID…` prints the seconds of each as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from time import perf_counter

import httpx


async def main(at_once: int, customer_ids: list[str]) -> None:
    """Read all customers; then read each again and unlatch it, so many at a time."""
    limit = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(
        base_url=os.environ["FUSEBILL_BASE_URL"],
        headers={"Authorization": f"Basic {os.environ['FUSEBILL_API_KEY']}"},
    ) as client:

        async def read(customer_id: str) -> httpx.Response:
            async with limit:
                answer = await client.get(f"/customers/{customer_id}")
            return answer.raise_for_status()

        async def unlatch(customer_id: str, before: httpx.Response) -> None:
            async with limit:
                now = await client.get(f"/customers/{customer_id}")
                if now.raise_for_status().json()["hubSpotId"] == before.json()["hubSpotId"]:
                    done = await client.post(f"/HubSpot/UnlatchCustomer/{customer_id}")
                    done.raise_for_status()

        began = perf_counter()
        customers = await asyncio.gather(*map(read, customer_ids))
        previewed = perf_counter()
        await asyncio.gather(*map(unlatch, customer_ids, customers))
        seconds = {"preview": previewed - began, "work": perf_counter() - previewed}
    print(json.dumps(seconds))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
