"""The table (problem, pass, device, algorithm) -> kernel, and the planner that chooses from it."""
