"""Whether trainings survive on small real disks: see `__main__`."""
