-- Sign-in through an OpenID Connect provider: who is known by which subject, sign-ins under way, one-time codes.

-- One person has one subject at an issuer and one subject is one person, so that two approvals are two people.
CREATE TABLE oidc_identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    name text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (issuer, name)
);
CREATE TABLE oidc_sign_in (
    state_hash bytea PRIMARY KEY,
    browser_hash bytea NOT NULL,
    nonce text NOT NULL,
    verifier text NOT NULL,
    challenge text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE oidc_code (
    code_hash bytea PRIMARY KEY,
    name text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    challenge text NOT NULL,
    expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON oidc_identity, oidc_sign_in, oidc_code TO cellwatt_api;
