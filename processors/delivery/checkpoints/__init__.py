"""What a commit says, where the state that it points to is stored, and where a partition starts by both."""
