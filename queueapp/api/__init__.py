"""The REST API (contract, section 5): each view parses, calls a verb and answers a document."""
