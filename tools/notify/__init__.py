"""Messages to people: who is told what, when, once; kept in an outbox before anything is sent."""
