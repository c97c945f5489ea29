"""Ranks on this machine that were started by torchrun, DeepSpeed, MPI, Slurm or anything else."""
