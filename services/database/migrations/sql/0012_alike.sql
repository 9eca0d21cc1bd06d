-- Before a payment goes to QuickBooks we look whether a bookkeeper has entered it there already: same customer and
-- amount within a few days, and not known to be one of billing's.
CREATE INDEX psa_payment_alike ON psa_payment (company_id, customer_id, amount) WHERE billing_payment_id IS NULL;
