"""What control is worth: a 10 MW site on real regulation days and on a 5-minute dispatch, beside its baselines.

    make score [DAYS=3 | DAYS=2016-04-18,2016-12-21] [TRACE=file.csv]

The real core, simulated miners, virtual time. `pjm` holds the formulae, `orders` what is asked for, `plant_site` the
site, `managers` the baselines that drive the same miners, `foresight` the linear programme, `judge` the figures of a
run, `wear` the day of a noisy surplus, `report` and `picture` what is written.
"""
