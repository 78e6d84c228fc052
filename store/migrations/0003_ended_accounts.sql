-- Every gateway asks again and again who has deleted an account of late.
CREATE INDEX account_deleted ON account (deleted_at) WHERE deleted_at IS NOT NULL;
