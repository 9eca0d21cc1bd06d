-- Differences between the books are settled over the API: what it agrees on is the link, what it exports an operation.
GRANT INSERT, UPDATE ON link TO algasync_api;
GRANT INSERT ON operation TO algasync_api;
GRANT UPDATE (updated_at) ON document TO algasync_api;  -- to lock it while its next repair is numbered
