-- The wizard's steps over the API: history links documents that only the PSA's lists know, and an undo takes links back.
GRANT INSERT ON document TO algasync_api;
GRANT DELETE ON link TO algasync_api;
