"""Everything a producing service imports, and nothing else: event producer, registry client, transactional outbox."""
