# DS1000/350
import numpy as np

result = np.array([])
