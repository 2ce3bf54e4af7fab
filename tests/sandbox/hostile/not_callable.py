# The right name for the wrong thing.
solve = [0, 1, 4, 9]
