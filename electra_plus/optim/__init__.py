"""Parameter groups, optimizers and schedules of pretraining and fine-tuning."""
