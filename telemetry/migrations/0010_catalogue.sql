-- What sites are put together from: autonomy duties by jurisdiction, battery types with limits by temperature, tariffs.
CREATE TABLE autonomy_profile (
    profile_id text PRIMARY KEY,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE battery_type (
    battery_type_id text PRIMARY KEY,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE TABLE tariff (
    tariff_id text PRIMARY KEY,
    version integer NOT NULL,
    doc jsonb NOT NULL
);
CREATE INDEX registry_change_by_subject ON registry_change (kind, subject_id, change_id);
GRANT SELECT ON autonomy_profile, battery_type, tariff TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT, UPDATE ON autonomy_profile, battery_type, tariff TO cellwatt_api;
