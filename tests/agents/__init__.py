"""The agent, against real PostgreSQL and a real HTTP endpoint."""
