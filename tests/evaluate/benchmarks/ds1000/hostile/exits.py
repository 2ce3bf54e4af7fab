# DS1000/0
import sys

sys.exit(0)
