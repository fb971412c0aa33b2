"""What PyTorch leaves to be gained on a CPU: memory, threads, convolutions."""
