"""The demo: really trained tiny models of known parentage, laid out like a Hub."""
