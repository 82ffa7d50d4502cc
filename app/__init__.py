"""The event store: an HTTP microservice in front of three PostgreSQL tables."""
