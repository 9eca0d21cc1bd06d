-- Deliveries that were given up are counted at each look of the metrics: few rows among millions.
CREATE INDEX delivery_given_up ON delivery (subscription_id) WHERE state = 'failed';
