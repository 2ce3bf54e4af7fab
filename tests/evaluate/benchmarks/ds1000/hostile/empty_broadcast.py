# DS1000/324
import numpy as np

result = np.empty((0, 1))
