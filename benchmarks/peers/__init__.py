"""The same job in other engines, as their guides would write it; `bench_peers.py` gives each an environment."""
