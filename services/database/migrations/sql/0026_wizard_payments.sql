-- The wizard brings payments of history over: asked for by whoever drives it, done by the fleet.
ALTER TABLE onboarding_action DROP CONSTRAINT onboarding_action_action_check;
ALTER TABLE onboarding_action ADD CONSTRAINT onboarding_action_action_check
  CHECK (action IN ('mapped', 'linked', 'created', 'handled', 'set', 'payments'));
CREATE INDEX onboarding_payments_asked ON onboarding_action (action_id) WHERE action = 'payments' AND state = 'intended';
