-- What the workers that live must agree on: option → value, as the last of them began with.

ALTER TABLE meta ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';
