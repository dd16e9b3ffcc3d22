-- Which weights a fingerprint is of, so that a copy of a model that was read needs no reading.

-- Digest of the model's weight files as the Hub tells them before a byte is read; NULL where it does not, and for what was read before.
ALTER TABLE store.fingerprint ADD COLUMN contents UUID;
