"""Everything that runs. The only package with loops, a clock, sockets to targets and the environment."""
