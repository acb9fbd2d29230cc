"""HTTP servers of our processes: bounded in connections, in the bytes of a head, and in the time of a request."""
