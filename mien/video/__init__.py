"""Moving pictures: reading, writing, and following faces."""
