"""What runs in the child: the contract's SDK, and a scikit-learn classifier of signals that keeps it."""
