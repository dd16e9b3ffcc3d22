"""Audits what the project is built from: pins, withdrawn releases, licences and known vulnerabilities."""
