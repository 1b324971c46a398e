"""What is learnt: advantages, policy losses and what may be added to them, small pure functions each."""
