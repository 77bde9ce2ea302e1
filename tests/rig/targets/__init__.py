"""Targets of grid programmes, T3 to T9 and T13, measured on a thousand miners: `python -m tests.rig.targets`."""
