"""The reconciliation wizard: from a company with years of books to the first automatic invoice, without a duplicate."""
