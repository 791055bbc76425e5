"""Name the outputs of a document, spelt so that the store accepts the names and tells them apart."""
