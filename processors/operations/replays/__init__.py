"""Replays: a window of the log is counted, filtered and sent again as a job that survives restarts."""
