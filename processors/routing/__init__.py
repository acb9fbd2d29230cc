"""The router: joins domain events with the subscriptions table and produces deliveries."""
