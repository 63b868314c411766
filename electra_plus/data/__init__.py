"""From text to batches: corpora, tokenizers, rows, masking."""
