"""What the package promises, measured: each file times or counts one thing."""
