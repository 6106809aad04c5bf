"""Many machines: workers that train chunks of one results directory, as jobs of SLURM or Ray or on their own."""
