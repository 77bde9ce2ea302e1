"""The contract every miner family must keep: each fault met by the real driver, judged by the real core."""
