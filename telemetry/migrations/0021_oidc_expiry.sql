-- Anybody may begin a sign-in, and each beginning forgets the ones that are over: without reading all of them.
CREATE INDEX oidc_sign_in_expiry ON oidc_sign_in (expires_at);
