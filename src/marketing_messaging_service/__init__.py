"""Behavioural events in, message decisions out: staged, loaded, decided and reported in that order."""
