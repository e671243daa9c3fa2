-- The agent reads the library as the person it answers: it may know who has which role, and nothing else of a user.
GRANT SELECT (name, role, active) ON app_user TO cellwatt_loop;
