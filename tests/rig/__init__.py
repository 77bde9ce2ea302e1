"""The rig: the real core against the simulators' physics in virtual time, and checkers that judge it by true power.

The only code that imports `controller.core` and `simulators` together; nothing shipped imports it.
"""
