"""evolcoder: Evol-Instruct for code as a platform on Ray. Importing it loads nothing heavy."""
