"""Everything that runs. The only room with loops, a clock, sockets to targets and the environment."""
