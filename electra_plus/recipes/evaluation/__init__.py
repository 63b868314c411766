"""Evaluation of pretrained models: minimal pairs, held-out replaced token detection, a small fine-tuning suite."""
