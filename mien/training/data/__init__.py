"""What models learn from and are measured on: lists of pairs, crops, InsightFace's files."""
