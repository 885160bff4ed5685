"""`pdd report`: a run or a table as one HTML page that needs nothing else."""
