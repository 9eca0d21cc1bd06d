-- A class of billing's lines is mapped to a class of the company, like everything else that a line names.
ALTER TABLE mapping DROP CONSTRAINT mapping_kind_check;
ALTER TABLE mapping ADD CONSTRAINT mapping_kind_check CHECK (kind IN
  ('item', 'item_category', 'discount_item', 'tax_code', 'term', 'payment_method', 'class', 'customer', 'billing_profile'));
