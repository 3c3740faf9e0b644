"""From a trained run to a bundle that runs without torch, with proof that it says the same."""
