"""What happens around the stock `Trainer`: what it logs, how long it runs."""
