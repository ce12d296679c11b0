"""CalcJobs: one file a process, all on top of one base."""
