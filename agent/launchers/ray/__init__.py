"""What Ray itself knows: the state of the cluster, its jobs, their actors and calls to them."""
