-- Bodies of dead events that a person corrected before sending them again: what it was, what it became, who and why.
CREATE TABLE letter_amendment (
  amendment_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  letter_id     uuid NOT NULL REFERENCES letter,
  tenant_id     text NOT NULL,
  at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor         text NOT NULL,
  reason        text NOT NULL,
  before        bytea NOT NULL,
  after         bytea NOT NULL
);
CREATE INDEX letter_amendment_letter ON letter_amendment (letter_id);
SELECT protect('letter_amendment', 'SELECT', 'SELECT, INSERT');
