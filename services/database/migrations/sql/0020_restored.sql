-- After a backup was restored QuickBooks knows more than we do: until this moment, whatever is created there is looked
-- for first.
ALTER TABLE company ADD COLUMN look_first_until timestamptz;
