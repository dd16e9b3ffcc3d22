"""From a Hub to fingerprints: listing, headers, sample plans, ranged reads. Hostile input ends here."""
