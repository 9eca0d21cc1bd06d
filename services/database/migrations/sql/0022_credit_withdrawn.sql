-- Credit that was told as applied in QuickBooks may be taken off again: an event of its own.
INSERT INTO event_type VALUES ('credit.withdrawn_in_quickbooks.v1', 'accounting', NULL, NULL, NULL, NULL);
