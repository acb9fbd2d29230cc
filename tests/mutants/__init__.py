"""Bugs planted outside the delivery engine, one at a time, each with the test that has to turn red."""
