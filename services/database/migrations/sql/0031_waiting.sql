-- The sweep goes through what waits a part at a time, in the order of ids.
CREATE INDEX operation_waiting ON operation (operation_id) WHERE state = 'waiting';
