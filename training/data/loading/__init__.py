"""Loads scans while a run goes on: batches, pools, worker processes."""
