"""Simulated worlds of seeds that no test has fixed, for as long as one likes, with a ledger of what they found."""
