-- What is taken back makes no group unread: grown_offset is the place of the last change that added to it.
ALTER TABLE notification ADD COLUMN grown_offset bigint;
UPDATE notification SET grown_offset = changed_offset;
ALTER TABLE notification ALTER COLUMN grown_offset SET NOT NULL;
