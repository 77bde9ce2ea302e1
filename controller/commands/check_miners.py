"""`curtaild check --miners`: does every miner of the inventory answer, and offer the profiles we plan with?

It only reads. The miner is right: where it tells another ladder than the model file, the plan would be wrong in watts.
"""

from __future__ import annotations

import asyncio
from typing import TextIO

from controller.config import SiteConfig
from controller.devices import build_miners
from drivers import catalog

EXIT_GOOD = 0
EXIT_MISMATCH = 3


def check_miners(config: SiteConfig, out: TextIO) -> int:
    """Ask every enabled miner for its ladder; 0 when all agree, 3 when one does not or does not answer."""
    found = asyncio.run(_ask_all(config))
    for line in found:
        out.write(f"{line}\n")
    out.write(f"# miners: {len(config.miners)} asked, {len(found)} to look at\n")
    return EXIT_MISMATCH if found else EXIT_GOOD


async def _ask_all(config: SiteConfig) -> list[str]:
    slots = asyncio.Semaphore(config.document.fleet.concurrency)

    async def ask(miner: catalog.Miner, known: int) -> str | None:
        async with slots:
            try:
                told = await miner.read_ladder()
            except catalog.LadderUnreadableError as error:
                return str(error)
            finally:
                await miner.close()
        wrong = catalog.mismatches(config.miners[known].model.levels, told)
        return f"{miner.miner_id}: {'; '.join(wrong)}" if wrong else None

    answers = await asyncio.gather(*(ask(miner, number) for number, miner in enumerate(build_miners(config))))
    return [answer for answer in answers if answer is not None]
