"""The paper's schedules on one GPU: the list of runs, the processes that share the card, and how fast it is."""
