"""What embeddings are good for: one file a verb, each a plain function of (model, data)."""
