"""How a run started and what that cost, rebuilt from what Ray and the ranks keep."""
