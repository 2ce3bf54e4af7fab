"""What runs inside the boxes is no test of pytest's."""

collect_ignore = ["hostile"]
