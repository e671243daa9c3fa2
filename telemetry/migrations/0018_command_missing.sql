-- Commands that no site answered are looked for every few seconds, to tell people.
CREATE INDEX command_missing ON command (valid_until) WHERE state = 'missing';
