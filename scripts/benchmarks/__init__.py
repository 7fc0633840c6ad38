"""What `scripts/bench` runs: ratios between programs on one machine, never absolute claims."""
