"""Membership in the workers' consumer group, in the poll thread: reads into inboxes, commits, takes rebalances."""
